//! Who waits before the door, for what, and for how long.

use std::pin::pin;

use futures::FutureExt as _;

use super::*;

const MIB: u64 = 1 << 20;

/// Rows of so many bytes in memory, unflushed.
async fn fill(up: &Up, bytes: usize) {
    let row = format!("{{\"text\":\"{}\"}}\n", "x".repeat(1_000));
    up.send("T", row.repeat(bytes / row.len())).await.unwrap();
}

async fn site(seed: u64) -> Site {
    let mut site = Site::new(seed).await;
    // Of the buffer's 256 MiB.
    site.config.wait_above_percent = 1;
    site
}

#[tokio::test]
async fn who_finds_memory_full_of_rows_waits_until_they_were_flushed() {
    let site = site(41).await;
    let up = site.up().await;
    fill(&up, 3_000_000).await;
    {
        let mut waits = pin!(up.intake.admit(Some(10), Encoding::Identity));
        assert!(waits.as_mut().now_or_never().is_none(), "there is no room");
        assert!(!up.intake.is_idle(), "nobody merges while others wait");
        up.flush().await;
        waits.await.unwrap();
    }
    assert!(up.intake.is_idle());
    // And at once while there is.
    up.intake.admit(Some(10), Encoding::Identity).now_or_never().unwrap().unwrap();
}

#[tokio::test]
async fn what_is_in_memory_is_flushed_because_somebody_waits() {
    let site = site(42).await;
    let up = site.up().await;
    fill(&up, 3_000_000).await;
    let (stop, stopped) = watch::channel(false);
    let upkeep = tokio::spawn(up.intake.clone().maintain(stopped));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(up.blocks("T").await.is_empty(), "neither old nor much");
    up.send("T", "{\"n\":1}").await.unwrap();
    assert_eq!(up.blocks("T").await.len(), 1);
    stop.send(true).unwrap();
    site.sim.clock().advance(MINUTE);
    upkeep.await.unwrap();
}

#[tokio::test]
async fn who_has_waited_too_long_is_told_to_come_back() {
    let site = site(43).await;
    let up = site.up().await;
    fill(&up, 3_000_000).await;
    let mut waits = pin!(up.send("T", "{}"));
    assert!(waits.as_mut().now_or_never().is_none());
    site.sim.clock().advance(Duration::from_millis(site.config.wait_max_ms - 1));
    assert!(waits.as_mut().now_or_never().is_none());
    site.sim.clock().advance(Duration::from_millis(1));
    let error = waits.await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after_s()), (ErrorKind::Overloaded, Some(1)));
    assert!(up.intake.is_idle(), "it waits no more");
}

#[tokio::test]
async fn those_on_the_way_are_waited_for_in_turn_whatever_they_promised() {
    let mut site = Site::new(44).await;
    site.config.wait_above_bytes = 3 * MIB;
    let up = site.up().await;
    let admit = |mib: u64| up.intake.admit(Some(mib * MIB), Encoding::Identity);
    let mut first = admit(2).await.unwrap();
    let mut second = pin!(admit(2));
    assert!(second.as_mut().now_or_never().is_none(), "three are enough");
    let mut third = pin!(admit(1));
    assert!(third.as_mut().now_or_never().is_none(), "there would be room, but another came before");
    first.grow(2 * MIB).unwrap();
    site.sim.clock().advance(Duration::from_millis(2_100));
    assert!(second.as_mut().now_or_never().is_none(), "what has come counts for as long as it is here");
    drop(first);
    let second = second.await.unwrap();
    let third = third.await.unwrap();
    let mut fourth = pin!(admit(1));
    assert!(fourth.as_mut().now_or_never().is_none());
    // Nothing has come of what the two promised.
    site.sim.clock().advance(Duration::from_millis(2_100));
    fourth.await.unwrap();
    drop((second, third));
    // One that is larger than all may be comes in alone.
    admit(9).now_or_never().unwrap().unwrap();
}

#[tokio::test]
async fn packed_and_endless_bodies_are_taken_for_more_than_they_say() {
    let mut site = Site::new(45).await;
    site.config.wait_above_bytes = 4 * MIB;
    let up = site.up().await;
    let beside = async |len: Option<u64>, encoding: Encoding| {
        let _one = up.intake.admit(Some(2 * MIB), Encoding::Identity).await.unwrap();
        up.intake.admit(len, encoding).now_or_never().is_some()
    };
    assert!(beside(Some(MIB / 2), Encoding::Identity).await);
    assert!(!beside(Some(MIB / 2), Encoding::Gzip).await);
    assert!(beside(Some(MIB / 8), Encoding::Zstd).await);
    assert!(beside(None, Encoding::Identity).await);
}
