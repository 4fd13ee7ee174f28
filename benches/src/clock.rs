//! CPU clocks: of this thread, of this process, of another process; and as criterion's measure.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("below a second"))
}

/// CPU time of the calling thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process so far.
#[must_use]
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Runs `work`; gives its result and what CPU time this thread spent on it.
pub fn on_thread<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_cpu();
    let done = work();
    (done, thread_cpu().saturating_sub(before))
}

/// CPU time of process `pid` so far, user and system; its granularity is a tick (10 ms).
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    // The name, in parentheses, may hold anything; after it the fields are the 3rd (state) and on: utime is the 14th.
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name in parentheses") + 1..].split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// What each thread of another process has run so far, to the nanosecond.
#[derive(Clone, Debug, Default)]
pub struct Threads(HashMap<String, u64>);

impl Threads {
    /// Those that process `pid` has now; none once it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let ran = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name().into_string().ok()?, text.split(' ').next()?.parse().ok()?))
        };
        Self(tasks.filter_map(Result::ok).filter_map(ran).collect())
    }

    /// What all of them ran since `earlier`. A thread that ended meanwhile is not counted: servers end threads that were
    /// idle for seconds, so this is for what takes less.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        let each = self.0.iter().map(|(thread, ran)| ran.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0)));
        Duration::from_nanos(each.sum())
    }
}

/// Takes a file, or all files below a directory, out of the page cache. What is not yet on disk stays.
pub fn forget_pages(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).for_each(|entry| forget_pages(&entry.path()));
    } else if let Ok(file) = fs::File::open(path) {
        // A file that cannot be synced or forgotten is merely warm: the figure errs to our advantage by that much.
        file.sync_data().ok();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).ok();
    }
}

/// The most memory process `pid` ever had resident, in bytes; `None` once it is gone.
#[must_use]
pub fn peak_memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// Bytes of all files below `dir`.
#[must_use]
pub fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// CPU time of the whole process as criterion's measure: what others do on the machine hardly shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        process_cpu()
    }

    fn end(&self, started: Duration) -> Duration {
        process_cpu().saturating_sub(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Bytes as criterion's throughput.
#[must_use]
pub fn bytes(count: usize) -> Throughput {
    Throughput::Bytes(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_tell_what_this_process_does() {
        let pid = std::process::id();
        let (before, cpu) = (Threads::of(pid), process_cpu());
        let mut sum = 0_u64;
        while process_cpu().saturating_sub(cpu) < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(Threads::of(pid).since(&before) >= Duration::from_millis(50));
    }
}
