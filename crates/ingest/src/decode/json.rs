//! Parsed JSON written out again, compactly.

use std::fmt::Write as _;

use simd_json::{Node, StaticNode};

/// How many nodes the value at the start of `nodes` takes.
pub(super) fn span(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    }
}

/// Writes the value at the start of `nodes`. Recursion is bounded by the parser's depth limit.
pub(super) fn write(out: &mut String, nodes: &[Node<'_>]) {
    match nodes[0] {
        Node::String(text) => write_string(out, text),
        Node::Static(value) => write_static(out, value),
        Node::Array { len, .. } => {
            out.push('[');
            let mut at = 1;
            for n in 0..len {
                if n > 0 {
                    out.push(',');
                }
                write(out, &nodes[at..]);
                at += span(&nodes[at]);
            }
            out.push(']');
        }
        Node::Object { len, .. } => {
            out.push('{');
            let mut at = 1;
            for n in 0..len {
                if n > 0 {
                    out.push(',');
                }
                write(out, &nodes[at..=at]);
                out.push(':');
                write(out, &nodes[at + 1..]);
                at += 1 + span(&nodes[at + 1]);
            }
            out.push('}');
        }
    }
}

/// Writes a number, true, false or null.
pub(super) fn write_static(out: &mut String, value: StaticNode) {
    let done = match value {
        StaticNode::I64(n) => write!(out, "{n}"),
        StaticNode::U64(n) => write!(out, "{n}"),
        StaticNode::F64(x) => write_real(out, x),
        StaticNode::Bool(b) => write!(out, "{b}"),
        StaticNode::Null => write!(out, "null"),
    };
    done.expect("a String takes all");
}

fn write_real(out: &mut String, x: f64) -> std::fmt::Result {
    // `Debug` is the shortest text that reads back the same, with an exponent where that is shorter: valid JSON.
    if x.is_finite() { write!(out, "{x:?}") } else { write!(out, "null") }
}

/// Writes a string with its quotes.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => write!(out, "\\u{control:04x}").expect("a String takes all"),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}
