use std::time::Duration;

use futures::{FutureExt, StreamExt};
use strongroom_world::World;

use super::*;

fn files(dir: &Path) -> Arc<SpillFiles> {
    SpillFiles::new(World::real(), dir.to_owned(), SpillQuota::new(64 << 20))
}

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Reads until `len` bytes came.
async fn take(stream: &mut Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>, len: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < len {
        got.extend_from_slice(&stream.next().await.expect("more to come").unwrap());
    }
    got
}

#[tokio::test]
async fn what_was_flushed_is_read_while_the_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = files(dir.path()).create_temp_file("queue").unwrap();
    let mut writer = file.open_writer().unwrap();
    let mut reader = file.read_stream().unwrap();
    let mut from = 0;
    for len in [1, 100, 16_384, 1_000_000, 7] {
        writer.write_all(&pattern(from, len)).unwrap();
        assert!(reader.next().now_or_never().is_none(), "nothing was flushed yet");
        writer.flush().unwrap();
        assert_eq!(take(&mut reader, len).await, pattern(from, len));
        from += len;
    }
    writer.flush().unwrap();
    writer.finish().unwrap();
    assert!(reader.next().await.is_none());
    // Another reader sees the whole, too.
    assert_eq!(take(&mut file.read_stream().unwrap(), from).await, pattern(0, from));
    assert!(writer.write_all(b"more").is_err() && file.open_writer().is_err());
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_by_more_and_by_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = files(dir.path()).create_temp_file("queue").unwrap();
    let mut writer = file.open_writer().unwrap();
    let mut reader = file.read_stream().unwrap();
    let waiting = tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(bytes) = reader.next().await {
            got.extend_from_slice(&bytes.unwrap());
        }
        got
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    writer.write_all(&pattern(0, 300_000)).unwrap();
    writer.flush().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    writer.write_all(&pattern(300_000, 50_000)).unwrap();
    writer.finish().unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap(), pattern(0, 350_000));
}

#[tokio::test]
async fn a_file_that_was_not_written_to_its_end_is_no_shorter_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = files(dir.path()).create_temp_file("queue").unwrap();
    let mut writer = file.open_writer().unwrap();
    writer.write_all(b"some").unwrap();
    writer.flush().unwrap();
    drop(writer);
    let mut reader = file.read_stream().unwrap();
    assert_eq!(take(&mut reader, 4).await, b"some");
    assert!(reader.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_changed_byte_anywhere_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = files(dir.path()).create_temp_file("sort").unwrap();
    let mut writer = file.open_writer().unwrap();
    for from in [0, 40_000] {
        writer.write_all(&pattern(from, 40_000)).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap();
    let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let sealed = std::fs::read(&path).unwrap();
    assert!(!sealed.windows(64).any(|window| window == &pattern(0, 64)[..]), "it lies there in clear");
    for at in [0, 100, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let pieces: Vec<Result<Bytes>> = file.read_stream().unwrap().collect().await;
        assert!(pieces.iter().any(Result::is_err), "byte {at}");
    }
}
