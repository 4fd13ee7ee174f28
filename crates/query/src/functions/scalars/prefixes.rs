//! Networks as keys of a join: what `ipv4_lookup` and `ipv6_lookup` are made of.
//!
//! A network becomes a text of its length and its bits, an address the list of all networks it can lie in. Of several that match,
//! the greatest text is that of the narrowest network.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use strongroom_model::ColumnType;

use super::args::Call;
use super::network::{ipv4, ipv6, mask, mask6};
use super::spec::{Gives, Make, ScalarSpec, Want};
use crate::functions::Typed;

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

const fn spec(name: &'static str, gives: ColumnType, kernel: super::spec::Kernel) -> ScalarSpec {
    ScalarSpec { name, aliases: &[], takes: &[Want::String], least: 1, more: None, gives: Gives::Kind(gives), make: Make::Kernel(kernel) }
}

static SPECS: [ScalarSpec; 4] = [
    spec("ipv4_networks", ColumnType::Dynamic, |call| networks(call, Family::V4)),
    spec("ipv6_networks", ColumnType::Dynamic, |call| networks(call, Family::V6)),
    spec("ipv4_network", ColumnType::Dynamic, |call| network(call, Family::V4)),
    spec("ipv6_network", ColumnType::Dynamic, |call| network(call, Family::V6)),
];

/// Every network an address can lie in, as a dynamic array; null if it is no address.
pub(crate) fn networks_of(text: Expr, family: Family) -> Typed {
    SPECS[usize::from(family == Family::V6)].call(vec![Typed::new(text, ColumnType::String)])
}

/// The key of a network; null if it is none.
pub(crate) fn network_key(text: Expr, family: Family) -> Typed {
    // A dynamic, as the elements of the list are.
    SPECS[2 + usize::from(family == Family::V6)].call(vec![Typed::new(text, ColumnType::String)])
}

fn write(family: Family, address: u128, bits: u32, out: &mut String) {
    let written = match family {
        // With its quotes short enough to lie in a view.
        Family::V4 => write!(out, "{bits:02}{:08x}", u32::try_from(address).unwrap_or(0) & mask(bits)),
        Family::V6 => write!(out, "{bits:03}{:032x}", address & mask6(bits)),
    };
    written.expect("a String takes everything");
}

fn parsed(family: Family, text: &str) -> Option<(u128, u32)> {
    match family {
        Family::V4 => ipv4(text).map(|(address, bits)| (u128::from(address), bits)),
        Family::V6 => ipv6(text),
    }
}

fn networks(call: &Call<'_>, family: Family) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some((address, bits)) = parsed(family, texts.get(row)) else { return false };
        out.push('[');
        for bits in 0..=bits {
            out.push_str(if bits == 0 { "\"" } else { ",\"" });
            write(family, address, bits, out);
            out.push('"');
        }
        out.push(']');
        true
    }))
}

fn network(call: &Call<'_>, family: Family) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some((address, bits)) = parsed(family, texts.get(row)) else { return false };
        out.push('"');
        write(family, address, bits, out);
        out.push('"');
        true
    }))
}
