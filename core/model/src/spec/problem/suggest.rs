//! The word that was probably meant.

/// The nearest of the known words, if it is near enough to be a slip: at most a third of the word's letters differ.
/// Of equally near ones the first. A name that differs in its number alone is another name: who writes `jb7` does not
/// mean `jb6`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    // No name is longer; comparing costs the product of the lengths.
    if word.is_empty() || word.len() > 80 {
        return None;
    }
    let limit = (word.len() / 3).max(1);
    let letters = |word: &[char]| {
        word.iter()
            .filter(|c| !c.is_ascii_digit())
            .copied()
            .collect::<String>()
    };
    let digits = |word: &[char]| word.iter().any(char::is_ascii_digit);
    known
        .into_iter()
        .filter(|other| {
            let other: Vec<char> = other.to_lowercase().chars().collect();
            !(digits(&word) && digits(&other) && letters(&word) == letters(&other))
        })
        .map(|other| {
            (
                distance(&word, &other.to_lowercase().chars().collect::<Vec<_>>()),
                other,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to get from one to the other
/// (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let keys = ["requires", "after", "active", "active_when", "nodes"];
        assert_eq!(nearest("require", keys), Some("requires"));
        assert_eq!(nearest("actvie", keys), Some("active"));
        assert_eq!(nearest("Nodes", keys), Some("nodes"));
        assert_eq!(nearest("activ_when", keys), Some("active_when"));
        assert_eq!(nearest("manager", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("jb7", ["jb1", "jb6"]), None);
        assert_eq!(nearest("dbm", ["dbm1", "dbs1"]), Some("dbm1"));
    }

    #[test]
    fn swapped_neighbours_are_one_slip() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("dmb"), &chars("dbm")), 1);
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(distance(&chars(""), &chars("abc")), 3);
    }
}
