//! Connection strings (PostgreSQL documentation, *Keyword/Value Connection Strings*).

/// A connection string of these keywords and values, each value in quotes.
pub(super) fn conninfo<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pair = |(keyword, value): (&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{keyword}='{value}'")
    };
    let pairs: Vec<String> = pairs.into_iter().map(pair).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_quotes() {
        let text = conninfo([("host", "db1"), ("user", r"o'b\ x"), ("passfile", "")]);
        assert_eq!(text, r"host='db1' user='o\'b\\ x' passfile=''");
    }
}
