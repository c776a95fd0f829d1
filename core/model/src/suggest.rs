//! The word that was probably meant.

/// So many words are compared; whoever has more of them is not helped by one that is almost right.
const MOST: usize = 1_000;

/// The nearest of the known words, if it is near enough to be a slip: at most a third of the word's letters differ
/// (optimal string alignment: a letter inserted, removed, replaced, or swapped with its neighbour). Of equally near ones
/// the first. A name that differs in its number alone is another name: who writes `jb7` does not mean `jb6`.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    // Any letter is one slip away from any other. No name is longer; comparing costs the product of the lengths.
    if !(2..=80).contains(&length) {
        return None;
    }
    let limit = (length / 3).max(1);
    let letters = |word: &str| word.replace(|c: char| c.is_ascii_digit(), "");
    let digits = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let (own_letters, own_digits) = (letters(&word), digits(&word));
    known
        .into_iter()
        .filter(|other| other.chars().count().abs_diff(length) <= limit)
        .take(MOST)
        .map(|other| (other, other.to_lowercase()))
        .filter(|(_, lower)| !(own_digits && digits(lower) && letters(lower) == own_letters))
        .map(|(other, lower)| (strsim::osa_distance(&word, &lower), other))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
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
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest("jb7", ["jb1", "jb6"]), None);
        assert_eq!(nearest("dbm", ["dbm1", "dbs1"]), Some("dbm1"));
    }

    #[test]
    fn swapped_neighbours_are_one_slip() {
        assert_eq!(nearest("dmb", ["dbm"]), Some("dbm"));
        assert_eq!(nearest("abc", ["cab"]), None);
    }
}
