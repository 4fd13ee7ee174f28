//! Looks for a marker in every file of a tree, in every disguise that bytes take on their way to a disk.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;

/// A marker and the byte strings that would give it away.
#[derive(Clone, Debug)]
pub struct Marker {
    text: String,
    disguises: Vec<(&'static str, Vec<u8>)>,
}

impl Marker {
    /// `text` as it is, in hex, in base64 at each of its three alignments, and in UTF-16.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let mut disguises = vec![
            ("raw", bytes.to_vec()),
            ("hex", hex::encode(bytes).into_bytes()),
            ("upper-case hex", hex::encode_upper(bytes).into_bytes()),
            ("UTF-16LE", utf16(u16::to_le_bytes)),
            ("UTF-16BE", utf16(u16::to_be_bytes)),
        ];
        for shift in 0..3 {
            let mut padded = vec![0u8; shift];
            padded.extend_from_slice(bytes);
            for engine in [&base64::engine::general_purpose::STANDARD_NO_PAD, &base64::engine::general_purpose::URL_SAFE_NO_PAD] {
                let text = engine.encode(&padded);
                // The first characters hold the padding, the last ones what would follow the marker.
                let inner = &text.as_bytes()[[0, 2, 3][shift]..text.len() - 2];
                disguises.push(("base64", inner.to_vec()));
            }
        }
        Self { text: text.to_owned(), disguises }
    }

    /// The marker itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        self.disguises.iter().find(|(_, disguise)| find(bytes, disguise)).map(|(name, _)| *name)
    }

    /// What of `bytes` gives the marker away, looking into compressed stretches too.
    #[must_use]
    pub fn hit(&self, bytes: &[u8]) -> Option<String> {
        if let Some(how) = self.found_in(bytes) {
            return Some(how.to_owned());
        }
        inflated(bytes).into_iter().find_map(|(what, plain)| self.found_in(&plain).map(|how| format!("{how} inside {what}")))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// Everything in `bytes` that inflates: zstd frames and gzip members by their magic numbers, at any offset.
fn inflated(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    const LIMIT: u64 = 64 << 20;
    let mut found = Vec::new();
    for at in memchr::memmem::find_iter(bytes, &[0x28, 0xb5, 0x2f, 0xfd]) {
        if let Ok(decoder) = zstd::stream::read::Decoder::new(&bytes[at..]) {
            let mut plain = Vec::new();
            drop(decoder.single_frame().take(LIMIT).read_to_end(&mut plain));
            found.push(("zstd", plain));
        }
    }
    for at in memchr::memmem::find_iter(bytes, &[0x1f, 0x8b, 0x08]) {
        let mut plain = Vec::new();
        drop(flate2::read::GzDecoder::new(&bytes[at..]).take(LIMIT).read_to_end(&mut plain));
        found.push(("gzip", plain));
    }
    found.retain(|(_, plain)| !plain.is_empty());
    found
}

/// Every file below `root`.
#[must_use]
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Which files below `root` give a marker away, and how. Files that vanish meanwhile are passed over.
#[must_use]
pub fn scan(root: &Path, markers: &[Marker]) -> Vec<String> {
    let mut hits = Vec::new();
    for path in files(root) {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for marker in markers {
            if let Some(how) = marker.hit(&bytes) {
                hits.push(format!("{} in {} ({how})", marker.text(), path.display()));
            }
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The scanner is worth nothing unless it finds what was planted on purpose.
    #[test]
    fn a_planted_marker_is_found_in_every_disguise() {
        let marker = Marker::new("cnry-7f3a91e2b8");
        let text = format!("some text before {} and after", marker.text());
        let mut gzip = flate2::write::GzEncoder::new(b"junk".to_vec(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let mut planted = vec![
            text.clone().into_bytes(),
            hex::encode(&text).into_bytes(),
            hex::encode_upper(&text).into_bytes(),
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            [b"junk".to_vec(), zstd::encode_all(text.as_bytes(), 3).unwrap(), b"more junk".to_vec()].concat(),
            gzip.finish().unwrap(),
        ];
        for shift in 0..3 {
            planted.push(base64::engine::general_purpose::STANDARD.encode([&b"xyz"[..shift], text.as_bytes()].concat()).into_bytes());
        }
        let dir = tempfile::tempdir().unwrap();
        for (n, bytes) in planted.iter().enumerate() {
            assert!(marker.hit(bytes).is_some(), "disguise {n}");
            std::fs::write(dir.path().join(n.to_string()), bytes).unwrap();
        }
        assert_eq!(scan(dir.path(), std::slice::from_ref(&marker)).len(), planted.len());
        assert_eq!(marker.hit(b"cnry-7f3a91e2b7"), None);
    }
}
