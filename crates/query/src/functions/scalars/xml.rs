//! XML to JSON, as `parse_xml` wants it: elements, attributes and text; everything else is skipped, and nothing is fetched.

use super::json;

/// Longest text that is read.
const TEXT_MAX: usize = 1 << 20;
/// Deepest element: JSON deeper than this is read by nobody.
const DEPTH_MAX: usize = 100;

/// An element while it is open.
#[derive(Default)]
struct Open<'a> {
    name: &'a str,
    /// Members in the order first seen (attributes as `@name`, texts as `#text`): each value in its JSON form.
    members: Vec<(String, Vec<String>)>,
}

impl Open<'_> {
    fn add(&mut self, key: String, value: String) {
        match self.members.iter_mut().find(|(there, _)| *there == key) {
            Some((_, values)) => values.push(value),
            None => self.members.push((key, vec![value])),
        }
    }

    fn text(&mut self, text: &str) {
        let mut value = String::new();
        json::write_string(text, &mut value);
        self.add("#text".to_owned(), value);
    }

    /// Nothing is null, text alone is a string, anything else a bag.
    fn json(self) -> String {
        match self.members.as_slice() {
            [] => "null".to_owned(),
            [(key, texts)] if key == "#text" && texts.len() == 1 => texts[0].clone(),
            members => {
                let mut out = String::from("{");
                for (at, (key, values)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    json::write_string(key, &mut out);
                    out.push(':');
                    if let [value] = values.as_slice() {
                        out.push_str(value);
                    } else {
                        out.push('[');
                        out.push_str(&values.join(","));
                        out.push(']');
                    }
                }
                out.push('}');
                out
            }
        }
    }
}

/// Writes `{"root":..}`; none if it is no XML of one root.
pub(super) fn to_json(text: &str, out: &mut String) -> Option<()> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut root = None;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let (text, next) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            rest = next;
            let text = text.trim();
            match open.last_mut() {
                Some(element) if !text.is_empty() => element.text(&unescaped(text)?),
                None if !text.is_empty() => return None,
                _ => {}
            }
            continue;
        };
        rest = if let Some(inside) = after.strip_prefix("![CDATA[") {
            let (text, next) = inside.split_once("]]>")?;
            open.last_mut()?.text(text);
            next
        } else if let Some(inside) = after.strip_prefix("!--") {
            inside.split_once("-->")?.1
        } else if let Some(inside) = after.strip_prefix('?') {
            inside.split_once("?>")?.1
        } else if let Some(inside) = after.strip_prefix('!') {
            // A document type with declarations of its own could define anything.
            let (declared, next) = inside.split_once('>')?;
            if declared.contains('[') {
                return None;
            }
            next
        } else if let Some(inside) = after.strip_prefix('/') {
            let (name, next) = inside.split_once('>')?;
            let element = open.pop().filter(|element| element.name == name.trim_end())?;
            close(element, &mut open, &mut root)?;
            next
        } else {
            let (element, alone, next) = start(after)?;
            if root.is_some() || open.len() >= DEPTH_MAX {
                return None;
            }
            if alone {
                close(element, &mut open, &mut root)?;
            } else {
                open.push(element);
            }
            next
        };
    }
    let (name, value) = root.filter(|_| open.is_empty())?;
    out.push('{');
    json::write_string(name, out);
    out.push(':');
    out.push_str(&value);
    out.push('}');
    Some(())
}

fn close<'a>(element: Open<'a>, open: &mut [Open<'a>], root: &mut Option<(&'a str, String)>) -> Option<()> {
    let name = element.name;
    let value = element.json();
    match open.last_mut() {
        Some(parent) => parent.add(name.to_owned(), value),
        None if root.is_none() => *root = Some((name, value)),
        None => return None,
    }
    Some(())
}

fn name_of(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '/' | '>' | '<' | '"' | '\'' | '&')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == ':').then_some((name, rest))
}

/// `name a="b" ..>` or `../>`: the element, whether it ends here, and what follows.
fn start(text: &str) -> Option<(Open<'_>, bool, &str)> {
    let (name, mut rest) = name_of(text)?;
    let mut element = Open { name, members: Vec::new() };
    loop {
        rest = rest.trim_start();
        if let Some(next) = rest.strip_prefix("/>") {
            return Some((element, true, next));
        }
        if let Some(next) = rest.strip_prefix('>') {
            return Some((element, false, next));
        }
        let (key, after) = name_of(rest)?;
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = value[1..].split_once(quote)?;
        let mut written = String::new();
        json::write_string(&unescaped(value)?, &mut written);
        let key = format!("@{key}");
        if element.members.iter().any(|(there, _)| *there == key) {
            return None;
        }
        element.add(key, written);
        rest = next;
    }
}

/// The five entities of XML and characters by number; any other is unknown here.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (name, next) = rest[at + 1..].split_once(';')?;
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = next;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::to_json;

    fn json(text: &str) -> Option<String> {
        let mut out = String::new();
        to_json(text, &mut out).map(|()| out)
    }

    #[test]
    fn elements_become_what_the_documentation_says() {
        let check = |xml: &str, expected: &str| assert_eq!(json(xml).as_deref(), Some(expected), "{xml}");
        check("<e/>", r#"{"e":null}"#);
        check("<e>text</e>", r#"{"e":"text"}"#);
        check("<e name=\"value\" />", r#"{"e":{"@name":"value"}}"#);
        check("<e name=\"value\">text</e>", r##"{"e":{"@name":"value","#text":"text"}}"##);
        check("<e> <a>text</a> <b>text</b> </e>", r#"{"e":{"a":"text","b":"text"}}"#);
        check("<e> <a>text</a> <a>text</a> </e>", r#"{"e":{"a":["text","text"]}}"#);
        check("<e> text <a>text</a> </e>", r##"{"e":{"#text":"text","a":"text"}}"##);
        check("<?xml version='1.0'?><!-- c --><n:e a='&lt;&#65;'><![CDATA[<x>]]></n:e>", r##"{"n:e":{"@a":"<A","#text":"<x>"}}"##);
    }

    #[test]
    fn what_is_no_xml_is_nothing() {
        for text in [
            "",
            "x",
            "<e>",
            "<e></f>",
            "<e/><f/>",
            "<e a=1/>",
            "<e a='1' a='2'/>",
            "<e>&nbsp;</e>",
            "<!DOCTYPE e [<!ENTITY x 'y'>]><e/>",
            "</e>",
            "<",
            "<e",
        ] {
            assert_eq!(json(text), None, "{text}");
        }
        assert_eq!(json(&"<a>".repeat(101)), None, "too deep");
    }
}
