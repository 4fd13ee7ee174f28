//! A stream of lines as batches: whole lines, never more than a few MiB at a time.

use std::io::{self, Read};

/// One line longer than this is nothing a server takes.
const LINE_MAX: usize = 8 << 20;

/// Some whole lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Counts the batches of a file from 0. The same file in the same batch size gives the same batches.
    pub(super) number: u64,
    /// The first line's number, from 1.
    pub(super) first_line: u64,
    /// How many lines.
    pub(super) lines: u64,
    pub(super) bytes: Vec<u8>,
}

/// Cuts a stream into batches.
pub(super) struct Batches<R> {
    input: R,
    size: usize,
    carried: Vec<u8>,
    number: u64,
    line: u64,
    ended: bool,
}

impl<R: Read> Batches<R> {
    pub(super) fn new(input: R, size: usize) -> Self {
        Self { input, size, carried: Vec::new(), number: 0, line: 1, ended: false }
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        let mut bytes = std::mem::take(&mut self.carried);
        let mut size = self.size;
        while !self.ended {
            self.fill(&mut bytes, size)?;
            if self.ended {
                break;
            }
            if let Some(at) = memchr::memrchr(b'\n', &bytes) {
                self.carried = bytes.split_off(at + 1);
                break;
            }
            if bytes.len() >= LINE_MAX {
                let text = format!("line {} is longer than {} MiB", self.line, LINE_MAX >> 20);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            size = (size * 2).min(LINE_MAX);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let breaks = memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let lines = breaks + u64::from(bytes.last() != Some(&b'\n'));
        let batch = Batch { number: self.number, first_line: self.line, lines, bytes };
        self.number += 1;
        self.line += lines;
        Ok(Some(batch))
    }

    /// Reads until there are `size` bytes or nothing is left.
    fn fill(&mut self, bytes: &mut Vec<u8>, size: usize) -> io::Result<()> {
        let mut filled = bytes.len();
        bytes.resize(size.max(filled), 0);
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives what it has a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(input: &[u8], size: usize, dribble: usize) -> Vec<Batch> {
        let mut batches = Batches::new(Dribble(input, dribble), size);
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn batches_hold_every_byte_once_in_whole_lines_however_it_is_read(input in "[a\n]{0,200}", size in 1..40_usize, dribble in 1..50_usize) {
            let batches = all(input.as_bytes(), size, dribble);
            prop_assert_eq!(batches.iter().flat_map(|batch| batch.bytes.clone()).collect::<Vec<_>>(), input.as_bytes());
            prop_assert_eq!(&batches, &all(input.as_bytes(), size, 1_000));
            let mut line = 1;
            for (number, batch) in batches.iter().enumerate() {
                prop_assert!(number + 1 == batches.len() || batch.bytes.ends_with(b"\n"));
                prop_assert_eq!((batch.number, batch.first_line), (number as u64, line));
                prop_assert_eq!(batch.lines, String::from_utf8_lossy(&batch.bytes).lines().count() as u64);
                line += batch.lines;
            }
        }
    }

    #[test]
    fn an_endless_line_is_an_error_that_says_where() {
        let mut batches = Batches::new(io::Cursor::new(b"ok\n".to_vec()).chain(io::repeat(b'x')), 100);
        assert_eq!(batches.next().unwrap().unwrap().bytes, b"ok\n");
        assert!(batches.next().unwrap_err().to_string().contains("line 2"));
    }
}
