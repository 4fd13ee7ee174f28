use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use proptest::prelude::*;

use super::*;

fn store() -> (tempfile::TempDir, Arc<LocalObjects>) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalObjects::open(World::real(), dir.path().join("blocks")).unwrap();
    (dir, store)
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

async fn names(store: &LocalObjects, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(Path::from);
    store.list(prefix.as_ref()).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
}

#[tokio::test]
async fn what_is_put_is_read_back_whole_and_in_ranges() {
    let (_dir, store) = store();
    let path = Path::from("a/b/c");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect();
    let chunks: PutPayload = bytes.chunks(1_000).map(Bytes::copy_from_slice).collect();
    store.put(&path, chunks).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
    let ranges = [0..10, 2_999_990..3_000_000, 5..5];
    let read = store.get_ranges(&path, &ranges).await.unwrap();
    for (range, part) in ranges.iter().zip(&read) {
        assert_eq!(part[..], bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
    }
    assert_eq!(store.head(&path).await.unwrap().size, 3_000_000);
    assert_eq!(store.get_range(&path, 7..9).await.unwrap(), bytes[7..9]);
    assert!(store.get_range(&path, 3_000_001..3_000_002).await.is_err());
}

#[tokio::test]
async fn create_refuses_a_taken_name_and_overwrite_takes_it() {
    let (_dir, store) = store();
    let path = Path::from("x/y");
    store.put_opts(&path, "one".into(), create()).await.unwrap();
    let error = store.put_opts(&path, "two".into(), create()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
    store.put(&path, "three".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
    store.copy(&path, &Path::from("z")).await.unwrap();
    assert_eq!(store.get(&Path::from("z")).await.unwrap().bytes().await.unwrap(), "three");
    assert!(store.copy_if_not_exists(&path, &Path::from("z")).await.is_err());
}

#[tokio::test]
async fn a_listing_walks_the_tree_in_order_and_hides_the_staging_directory() {
    let (_dir, store) = store();
    for name in ["k/2", "a/2/x", "a/1/y", "a/1/x"] {
        store.put(&Path::from(name), "1".into()).await.unwrap();
    }
    assert_eq!(names(&store, None).await, ["a/1/x", "a/1/y", "a/2/x", "k/2"]);
    assert_eq!(names(&store, Some("a/1")).await, ["a/1/x", "a/1/y"]);
    assert!(names(&store, Some("nothing")).await.is_empty());
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, [Path::from("a"), Path::from("k")]);
    assert!(top.objects.is_empty());
}

#[tokio::test]
async fn a_deletion_leaves_no_empty_directories_and_the_name_can_be_used_again() {
    let (dir, store) = store();
    let path = Path::from("a/b/c");
    store.put(&path, "1".into()).await.unwrap();
    store.delete(&path).await.unwrap();
    assert!(!dir.path().join("blocks/a").exists());
    assert!(matches!(store.delete(&path).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    store.put(&path, "2".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "2");
    assert!(matches!(store.get(&Path::from("a/b")).await, Err(Error::NotFound { .. })), "a directory is no object");
}

#[tokio::test]
async fn leftovers_of_an_interrupted_put_go_at_the_next_start() {
    let (dir, store) = store();
    drop(store);
    let left = dir.path().join("blocks/.staging/0f.tmp");
    std::fs::write(&left, "half").unwrap();
    let beside = LocalObjects::peek(World::real(), dir.path().join("blocks"));
    assert!(names(&beside, None).await.is_empty() && left.exists(), "who only looks removes nothing");
    let store = LocalObjects::open(World::real(), dir.path().join("blocks")).unwrap();
    assert!(!left.exists());
    assert!(names(&store, None).await.is_empty());
}

#[tokio::test]
async fn multipart_and_versions_are_refused_by_name() {
    let (_dir, store) = store();
    let error = store.put_multipart(&Path::from("m")).await.err().unwrap();
    assert!(error.to_string().contains("multipart"), "{error}");
    assert!(store.get_opts(&Path::from("m"), GetOptions::new().with_version(Some("1"))).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_name_leaves_the_root(text in r"(\.\.|\.|[a-z/%\\]|\.staging|2e){0,12}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("in/root");
        let store = LocalObjects::open(World::real(), &root).unwrap();
        for path in [Some(Path::from(text.as_str())), Path::parse(&text).ok()].into_iter().flatten() {
            runtime.block_on(async { drop(store.put(&path, "1".into()).await); });
        }
        let beside = |dir: std::path::PathBuf| std::fs::read_dir(dir).unwrap().count();
        prop_assert_eq!((beside(outer.path().into()), beside(outer.path().join("in"))), (1, 1));
        prop_assert_eq!(beside(root.join(".staging")), 0);
    }
}
