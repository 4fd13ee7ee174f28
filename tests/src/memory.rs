//! What a process holds in memory, read from outside: the way a core dump would.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;

/// Bytes read at a time.
const CHUNK: usize = 4 << 20;

/// One place where something was found.
#[derive(Clone, Debug)]
pub struct Find {
    /// What was looked for.
    pub what: String,
    /// The mapping, as the kernel names it.
    pub mapping: String,
    /// Where.
    pub at: u64,
    /// What stands around it, printable bytes as they are.
    pub around: String,
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x} in {}: {}", self.what, self.at, self.mapping, self.around)
    }
}

/// Every place in a process's memory where one of `needles` stands, up to `most`.
///
/// # Panics
/// If the process cannot be read: it must have been started dumpable, by this user.
#[must_use]
pub fn search(pid: u32, needles: &[(String, Vec<u8>)], most: usize) -> Vec<Find> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process is there");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the process was started dumpable");
    let finders: Vec<(&str, Finder<'_>)> = needles.iter().map(|(what, bytes)| (what.as_str(), Finder::new(bytes))).collect();
    let overlap = needles.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(0);
    let (mut found, mut read) = (Vec::new(), 0_u64);
    let mut buffer = vec![0; CHUNK + overlap];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let name = fields.nth(3).unwrap_or("[anonymous]");
        if !rights.starts_with('r') || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("a hexadecimal number");
        let (mut at, end) = (number(start), number(end));
        while at < end {
            let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            // A mapping may go while we look; a hole in a file's mapping cannot be read.
            let Ok(len) = memory.read_at(&mut buffer[..want], at) else { break };
            if len == 0 {
                break;
            }
            read += len as u64;
            for (what, finder) in &finders {
                for hit in finder.find_iter(&buffer[..len]) {
                    // What lies in the overlap is found in the next chunk.
                    if hit < CHUNK && found.len() < most {
                        let around = &buffer[hit.saturating_sub(48)..(hit + 80).min(len)];
                        let around = around.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
                        found.push(Find { what: (*what).to_owned(), mapping: name.to_owned(), at: at + hit as u64, around });
                    }
                }
            }
            at += (len.min(CHUNK)) as u64;
        }
    }
    assert!(read > 1 << 20, "only {read} bytes of the process could be read");
    found
}
