//! "Did you mean": the nearest of some names.

/// The candidate nearest to `name`, if it is near enough to be meant: same but for case, or at most a third of its
/// letters (and at least one) wrong, missing or swapped.
#[must_use]
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let allowed = (wanted.len() / 3).max(1);
    let mut best = None;
    for candidate in candidates {
        let have: Vec<char> = candidate.chars().take(64).flat_map(char::to_lowercase).collect();
        if have.len().abs_diff(wanted.len()) > allowed {
            continue;
        }
        let distance = distance(&wanted, &have);
        if distance <= allowed && distance < wanted.len() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits from one to the other; swapping neighbours is one edit (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            row[j + 1] = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let words = ["summarize", "where", "project", "take"];
        assert_eq!(closest("sumarize", words), Some("summarize"));
        assert_eq!(closest("WHERE", words), Some("where"));
        assert_eq!(closest("wehre", words), Some("where"));
        assert_eq!(closest("teka", words), None);
        assert_eq!(closest("x", words), None);
    }
}
