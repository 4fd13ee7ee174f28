//! Where a body's records begin and end.

use memchr::{memchr, memchr2};

use crate::{Format, IngestError};

/// One record of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Line, or element of an array; from 1.
    pub(super) line: u64,
    /// Where in the body it starts.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

/// The records of a body, one after the other.
pub(super) struct Split<'a> {
    body: &'a [u8],
    at: usize,
    line: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines { trim: bool },
    Array { begun: bool },
    Done,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip_space(body: &[u8], at: usize) -> usize {
    body[at..].iter().position(|&byte| !is_space(byte)).map_or(body.len(), |n| at + n)
}

impl<'a> Split<'a> {
    pub(super) fn new(body: &'a [u8], format: Format) -> Self {
        let start = skip_space(body, 0);
        match format {
            Format::Json | Format::Suffixed if body.get(start) == Some(&b'[') => {
                Self { body, at: start + 1, line: 0, kind: Kind::Array { begun: false } }
            }
            Format::Json | Format::Suffixed => Self { body, at: 0, line: 0, kind: Kind::Lines { trim: true } },
            Format::Lines => Self { body, at: 0, line: 0, kind: Kind::Lines { trim: false } },
        }
    }

    /// All from `piece` to the end of the body, if that is more than the piece and there is but one line structure to lose.
    pub(super) fn whole_if_longer(&self, piece: &Piece<'a>) -> Option<&'a [u8]> {
        if !matches!(self.kind, Kind::Lines { trim: true }) {
            return None;
        }
        let whole = self.body[piece.offset..].trim_ascii_end();
        (whole.len() > piece.bytes.len()).then_some(whole)
    }

    fn next_line(&mut self, trim: bool) -> Option<Piece<'a>> {
        while self.at < self.body.len() {
            let end = memchr(b'\n', &self.body[self.at..]).map_or(self.body.len(), |n| self.at + n);
            let (start, line) = (self.at, &self.body[self.at..end]);
            self.at = end + 1;
            self.line += 1;
            let line = if trim { line.trim_ascii_end() } else { line.strip_suffix(b"\r").unwrap_or(line) };
            let lead = if trim { line.len() - line.trim_ascii_start().len() } else { 0 };
            if line.len() > lead {
                return Some(Piece { line: self.line, offset: start + lead, bytes: &line[lead..] });
            }
        }
        None
    }

    fn next_element(&mut self, begun: bool) -> Option<Result<Piece<'a>, IngestError>> {
        let bad = |what, offset: usize| Some(Err(IngestError::BadBody { what, offset: offset as u64 }));
        let start = skip_space(self.body, self.at);
        self.kind = Kind::Done;
        if !begun && self.body.get(start) == Some(&b']') {
            return self.end(start + 1);
        }
        let Some(end) = element_end(self.body, start) else {
            return bad("the array has no end", self.body.len());
        };
        self.line += 1;
        let bytes = self.body[start..end].trim_ascii_end();
        self.at = end + 1;
        if self.body[end] == b',' {
            self.kind = Kind::Array { begun: true };
        } else if skip_space(self.body, end + 1) < self.body.len() {
            return bad("there is more after the array", end + 1);
        }
        Some(Ok(Piece { line: self.line, offset: start, bytes }))
    }

    fn end(&self, at: usize) -> Option<Result<Piece<'a>, IngestError>> {
        if skip_space(self.body, at) < self.body.len() {
            return Some(Err(IngestError::BadBody { what: "there is more after the array", offset: at as u64 }));
        }
        None
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<Piece<'a>, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.kind {
            Kind::Lines { trim } => self.next_line(trim).map(Ok),
            Kind::Array { begun } => self.next_element(begun),
            Kind::Done => None,
        }
    }
}

/// The place of the `,` or `]` that ends the array element starting at `start`.
fn element_end(body: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => at = string_end(body, at + 1)?,
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place of the quote that ends the string whose first byte is at `at`.
fn string_end(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str, format: Format) -> Vec<(u64, usize, &str)> {
        Split::new(body.as_bytes(), format)
            .map(|piece| piece.map_or((0, 0, "error"), |p| (p.line, p.offset, std::str::from_utf8(p.bytes).unwrap())))
            .collect()
    }

    #[test]
    fn lines_count_from_one_and_blank_ones_hold_nothing() {
        assert_eq!(split("{}\r\n\n  {\"a\":1} \n{}", Format::Json), [(1, 0, "{}"), (3, 7, "{\"a\":1}"), (4, 16, "{}")]);
        assert_eq!(split(" one \r\ntwo", Format::Lines), [(1, 0, " one "), (2, 7, "two")]);
        assert!(split("\n \n", Format::Json).is_empty());
    }

    #[test]
    fn array_elements_end_at_their_own_comma() {
        assert_eq!(
            split(r#" [ {"a":"],\"}"} , [1,{"b":2}],3 ] "#, Format::Json),
            [(1, 3, r#"{"a":"],\"}"}"#), (2, 19, r#"[1,{"b":2}]"#), (3, 31, "3")]
        );
        assert!(split(" [ ] ", Format::Json).is_empty());
        assert_eq!(split("[{},]", Format::Json), [(1, 1, "{}"), (2, 4, "")]);
    }

    #[test]
    fn an_array_without_an_end_or_with_more_behind_it_is_refused() {
        for body in ["[", "[{}", "[{},", "[{\"a", "[{}] x", "[] {}"] {
            assert_eq!(split(body, Format::Json).last().unwrap().2, "error", "{body}");
        }
    }
}
