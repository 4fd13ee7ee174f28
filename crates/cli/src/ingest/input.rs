//! What a file holds, as lines: compressed files are inflated, a JSON array is taken apart into its elements.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const READ_BUFFER: usize = 256 << 10;

/// Counts what is read of a file, as it lies there: progress is told in these bytes.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Opens a file (`-` is stdin) as a stream of lines. `plain`: lines are text, so an array is nothing special.
pub(super) fn open(path: &Path, plain: bool, read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let raw: Box<dyn Read + Send> = if path.as_os_str() == "-" { Box::new(stdin()) } else { Box::new(File::open(path)?) };
    let mut raw = BufReader::with_capacity(READ_BUFFER, Counted { inner: raw, read });
    let head = raw.fill_buf()?;
    let inflated: Box<dyn Read + Send> = match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(raw)?),
        _ => Box::new(raw),
    };
    if plain {
        return Ok(inflated);
    }
    let mut text = BufReader::with_capacity(READ_BUFFER, inflated);
    // Only as far as the first buffer: whoever puts 256 KiB of spaces before a bracket is not understood.
    let first = text.fill_buf()?.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    Ok(if first == Some(b'[') { Box::new(Elements::new(text)) } else { Box::new(text) })
}

/// Where in an array we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    Between,
    Inside { depth: u32, string: bool, escaped: bool },
    After,
}

/// A JSON array as lines, one element each: the elements' own line breaks become spaces. What is no JSON stays none,
/// and the server says so.
struct Elements<R> {
    inner: R,
    at: At,
}

impl<R: BufRead> Elements<R> {
    fn new(inner: R) -> Self {
        Self { inner, at: At::Before }
    }

    /// What one byte of the array becomes.
    fn step(&mut self, byte: u8) -> io::Result<Option<u8>> {
        let broken = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let begin = |depth, string| At::Inside { depth, string, escaped: false };
        let (next, out) = match (self.at, byte) {
            (at, byte) if byte.is_ascii_whitespace() && !matches!(at, At::Inside { .. }) => (at, None),
            (At::Before, b'[') | (At::Between, b',') => (At::Between, None),
            (At::Between, b']') => (At::After, None),
            (At::Between, b'{' | b'[') => (begin(1, false), Some(byte)),
            (At::Between, b'"') => (begin(0, true), Some(byte)),
            (At::Between, _) => (begin(0, false), Some(byte)),
            (At::Inside { depth, string: true, escaped }, _) => {
                let string = escaped || byte != b'"';
                (At::Inside { depth, string, escaped: !escaped && byte == b'\\' }, Some(byte))
            }
            (At::Inside { depth: 0, .. }, b',') => (At::Between, Some(b'\n')),
            (At::Inside { depth: 0, .. }, b']') => (At::After, Some(b'\n')),
            (At::Inside { depth, .. }, b'"') => (begin(depth, true), Some(byte)),
            (At::Inside { depth, .. }, b'{' | b'[') => (begin(depth.saturating_add(1), false), Some(byte)),
            (At::Inside { depth, .. }, b'}' | b']') => (begin(depth.saturating_sub(1), false), Some(byte)),
            (at @ At::Inside { .. }, b'\n' | b'\r') => (at, Some(b' ')),
            (at @ At::Inside { .. }, _) => (at, Some(byte)),
            (At::Before | At::After, _) => return broken("something stands outside the JSON array"),
        };
        self.at = next;
        Ok(out)
    }
}

impl<R: BufRead> Read for Elements<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            let available = self.inner.fill_buf()?;
            if available.is_empty() {
                if self.at != At::After && filled == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the JSON array does not end"));
                }
                break;
            }
            let taken: Vec<u8> = available[..available.len().min(buf.len() - filled)].to_vec();
            for &byte in &taken {
                if let Some(out) = self.step(byte)? {
                    buf[filled] = out;
                    filled += 1;
                }
            }
            self.inner.consume(taken.len());
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(input: &[u8]) -> io::Result<String> {
        let mut out = String::new();
        Elements::new(BufReader::with_capacity(7, input)).read_to_string(&mut out)?;
        Ok(out)
    }

    #[test]
    fn an_array_becomes_one_line_for_each_element() {
        assert_eq!(lines(b" [{\"a\":\n[1,2]},\r\n {\"b\":\"],\\\"}\"} ] \n").unwrap(), "{\"a\": [1,2]}\n{\"b\":\"],\\\"}\"} \n");
        assert_eq!(lines(b"[]").unwrap(), "");
        assert_eq!(lines(b"[\"x,y\", 3]").unwrap(), "\"x,y\"\n3\n");
        assert!(lines(b"[{\"a\":1}").is_err());
        assert!(lines(b"[1] x").is_err());
    }

    #[test]
    fn compressed_files_are_inflated_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"{\"a\":1}\n{\"a\":2}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        for (name, bytes) in [("plain", text.to_vec()), ("gz", gzip.finish().unwrap()), ("zst", zstd::encode_all(&text[..], 1).unwrap())] {
            let path = dir.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let read = Arc::new(AtomicU64::new(0));
            let mut out = Vec::new();
            open(&path, false, Arc::clone(&read)).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, text, "{name}");
            assert_eq!(read.load(Ordering::Relaxed), bytes.len() as u64);
        }
    }
}
