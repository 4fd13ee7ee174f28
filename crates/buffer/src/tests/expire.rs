//! Retention of rows whose key is away.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use strongroom_model::{ErrorKind, TimeRange};
use strongroom_world::Fs;
use strongroom_world::sim::SimOp;

use super::{Site, append_in, epoch, guard, held, record, table};
use crate::{Buffer, Purged, Record};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const AHEAD: Duration = Duration::from_hours(48);

fn expire(buffer: &Buffer) -> u64 {
    buffer.expire(AHEAD, &|_, _| 0).unwrap().segments
}

/// One row, kept for so many days, in a segment of its own: an hour later than what was there.
fn kept(site: &Site, buffer: &Buffer, id: i64, days: u32) {
    site.sim.clock().advance(HOUR);
    append_in(buffer, 2, Record { retention_days: days, ..record(0, &[id]) }).unwrap();
}

fn restored(site: &Site, buffer: &Arc<Buffer>) -> Vec<i64> {
    buffer.restore(&guard(2), &site.flushed).unwrap();
    held(buffer, 0)
}

#[test]
fn segments_past_their_days_go_without_a_key_and_the_others_come_back() {
    let site = Site::new(1);
    let buffer = site.up();
    kept(&site, &buffer, 1, 30);
    site.sim.clock().advance(10 * DAY);
    kept(&site, &buffer, 2, 30);
    assert_eq!(site.segments().len(), 2, "what comes an hour later goes to a segment of its own");
    site.sim.clock().advance(90 * DAY);
    assert_eq!(expire(&buffer), 0, "its key is here: its rows become blocks, and those expire");
    assert_eq!(held(&buffer, 0), [1, 2]);

    let site = Site::new(2);
    let buffer = site.up();
    kept(&site, &buffer, 1, 30);
    site.sim.clock().advance(10 * DAY);
    kept(&site, &buffer, 2, 30);
    buffer.forget(epoch(2));
    // Day 32 and an hour after the first row's birth: to the last moment it may be kept for.
    site.sim.clock().advance(22 * DAY);
    assert_eq!((expire(&buffer), site.segments().len()), (0, 2));
    site.sim.clock().advance(Duration::from_millis(1));
    assert_eq!((expire(&buffer), site.segments().len()), (1, 1));
    assert_eq!(restored(&site, &buffer), [2]);

    buffer.forget(epoch(2));
    site.sim.clock().advance(11 * DAY);
    assert_eq!(buffer.away(table(0), TimeRange::ALL), [(epoch(2), false)], "a question has to wait for its key");
    assert_eq!((expire(&buffer), site.segments().len()), (1, 0));
    assert_eq!(buffer.away(table(0), TimeRange::ALL), [], "and for nothing when nothing is left");
    assert_eq!(restored(&site, &buffer), [0_i64; 0]);
    kept(&site, &buffer, 3, 30);
    assert_eq!(held(&buffer, 0), [3]);
}

#[test]
fn a_segment_between_others_loses_its_rows_and_keeps_its_place() {
    let mut site = Site::new(3);
    let buffer = site.up();
    for (id, days) in [(1, 90), (2, 30), (3, 60), (4, 30)] {
        kept(&site, &buffer, id, days);
    }
    // Never read since the start: the files alone say what is over.
    drop(buffer);
    site.sim.fs().kill();
    site.guards.remove(&epoch(2));
    let buffer = site.up();
    let whole: u64 = site.segments().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    site.sim.clock().advance(40 * DAY);
    let purged = buffer.expire(AHEAD, &|_, _| 0).unwrap();
    let left: u64 = site.segments().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!((purged, site.segments().len()), (Purged { segments: 2, bytes: whole - left }, 4));
    assert_eq!(expire(&buffer), 0, "once is enough");
    site.sim.fs().power_cut();
    let buffer = site.up();
    assert_eq!(restored(&site, &buffer), [1, 3]);
    kept(&site, &buffer, 5, 30);
    drop(buffer);
    site.guards.insert(epoch(2), guard(2));
    let buffer = site.up();
    assert_eq!(held(&buffer, 0), [1, 3, 5]);
    buffer.forget(epoch(2));
    site.sim.clock().advance(60 * DAY);
    assert_eq!((expire(&buffer), site.segments().len()), (3, 0));
}

#[test]
fn a_segment_cut_back_before_its_time_is_damage() {
    let site = Site::new(4);
    let buffer = site.up();
    for id in 1..=3 {
        kept(&site, &buffer, id, 30);
    }
    buffer.forget(epoch(2));
    let (path, bytes) = site.segments().swap_remove(1);
    let at = |offset: usize| u64::from(u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())) + 40;
    site.sim.fs().open(&path).unwrap().set_len(152 + at(152)).unwrap();
    assert_eq!(buffer.restore(&guard(2), &site.flushed).unwrap_err().kind(), ErrorKind::Corrupt);
    site.sim.clock().advance(31 * DAY);
    assert_eq!(restored(&site, &buffer), [1, 3], "after it, nobody can tell and nothing is lost");
}

#[test]
fn what_is_kept_longer_by_now_stays_and_a_disk_in_the_way_is_tried_again() {
    let site = Site::new(5);
    let buffer = site.up();
    kept(&site, &buffer, 1, 30);
    let born = site.sim.world().clock.wall().unix_ms();
    buffer.forget(epoch(2));
    site.sim.clock().advance(40 * DAY);
    let longest = |of, at| {
        assert_eq!((of, at), (epoch(2), born));
        60
    };
    assert_eq!(buffer.expire(AHEAD, &longest).unwrap(), Purged::default());
    site.sim.fs().fail_next(SimOp::Remove, io::ErrorKind::PermissionDenied);
    buffer.expire(AHEAD, &|_, _| 0).unwrap_err();
    assert_eq!(buffer.away(table(0), TimeRange::ALL), [(epoch(2), false)]);
    assert_eq!((expire(&buffer), site.segments().len()), (1, 0));
}
