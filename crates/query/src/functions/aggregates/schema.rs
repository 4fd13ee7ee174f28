//! What dynamics look like: the types found at each place, as `buildschema` gives them. An array's elements are the member
//! `` `indexer` ``, which no bag can have.

use indexmap::IndexMap;

use crate::functions::scalars::json;

const INDEXER: &str = "`indexer`";
/// Deepest place looked at.
const DEPTH_MAX: usize = 64;
/// Most members one place keeps apart: keys that are data make no schema.
const MEMBERS_MAX: usize = 10_000;

/// All that was found at one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Types that hold nothing, in the order first seen.
    plain: Vec<String>,
    /// Keys in their JSON form without quotes.
    members: IndexMap<String, Shape>,
    /// Whether a bag or array was found; it may have been empty.
    container: bool,
}

impl Shape {
    /// Widens the shape to what this value is.
    pub(super) fn admit(&mut self, raw: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        if let Some(entries) = json::entries(raw) {
            self.container = true;
            for (key, value) in entries {
                self.member(key.trim_matches('"')).into_iter().for_each(|member| member.admit(value, depth + 1));
            }
        } else if let Some(items) = json::items(raw) {
            self.container = true;
            for item in items {
                self.member(INDEXER).into_iter().for_each(|member| member.admit(item, depth + 1));
            }
        } else {
            self.plainly(json::type_name(raw));
        }
    }

    fn plainly(&mut self, kind: &str) {
        if kind != "null" && !self.plain.iter().any(|there| there == kind) {
            self.plain.push(kind.to_owned());
        }
    }

    /// The member of that name; none if there are too many.
    fn member(&mut self, key: &str) -> Option<&mut Self> {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(key) {
            return None;
        }
        Some(self.members.entry(key.to_owned()).or_default())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.plain.iter().for_each(|kind| self.plainly(kind));
        self.container |= other.container;
        for (key, theirs) in &other.members {
            self.member(key).into_iter().for_each(|mine| mine.merge(theirs));
        }
    }

    /// One type as its name or bag, several as an array.
    pub(super) fn write(&self, out: &mut String) {
        let count = self.plain.len() + usize::from(self.container);
        if count != 1 {
            out.push('[');
        }
        for (at, kind) in self.plain.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::write_string(kind, out);
        }
        if self.container {
            if !self.plain.is_empty() {
                out.push(',');
            }
            out.push('{');
            for (at, (key, member)) in self.members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push('"');
                out.push_str(key);
                out.push_str("\":");
                member.write(out);
            }
            out.push('}');
        }
        if count != 1 {
            out.push(']');
        }
    }

    /// Back from what [`write`](Self::write) wrote.
    pub(super) fn read(raw: &str) -> Option<Self> {
        let mut shape = Self::default();
        let parts: Vec<&str> = json::items(raw).map_or_else(|| vec![raw], Iterator::collect);
        for part in parts {
            if let Some(entries) = json::entries(part) {
                shape.container = true;
                for (key, value) in entries {
                    shape.members.insert(key.trim_matches('"').to_owned(), Self::read(value)?);
                }
            } else {
                shape.plain.push(json::string(part)?.into_owned());
            }
        }
        Some(shape)
    }

    /// About the bytes it takes. Asked for after each value: shapes of thousands of places are rare, and bounded.
    pub(super) fn size(&self) -> usize {
        let members: usize = self.members.iter().map(|(key, member)| key.len() + 64 + member.size()).sum();
        size_of::<Self>() + self.plain.len() * 32 + members
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn the_documentation_s_example() {
        let mut shape = Shape::default();
        for value in [r#"{"x":1,"y":3.5}"#, r#"{"x":"somevalue","z":[1,2,3]}"#, r#"{"y":{"w":"zzz"},"t":["aa","bb"],"z":["foo"]}"#] {
            shape.admit(value, 0);
        }
        let mut text = String::new();
        shape.write(&mut text);
        assert_eq!(
            text,
            r#"{"x":["long","string"],"y":["double",{"w":"string"}],"z":{"`indexer`":["long","string"]},"t":{"`indexer`":"string"}}"#
        );
        assert_eq!(Shape::read(&text), Some(shape));
    }

    #[test]
    fn empty_containers_and_nulls() {
        let text = |values: &[&str]| {
            let mut shape = Shape::default();
            for value in values {
                shape.admit(value, 0);
            }
            let mut text = String::new();
            shape.write(&mut text);
            assert_eq!(Shape::read(&text), Some(shape));
            text
        };
        assert_eq!(text(&["{}"]), "{}");
        assert_eq!(text(&["null"]), "[]");
        assert_eq!(text(&[r#"{"a":null}"#, "true"]), r#"["bool",{"a":[]}]"#);
    }
}
