//! What pg_waldump(1) says of a log: where it ends, and what was committed in it.

use super::Lsn;

/// The end of the log that was read: `WAL statistics between 0/1500708 and 0/1528328:` (since version 15).
pub(super) fn end(stdout: &str) -> Option<Lsn> {
    let lines = stdout.lines().map(str::trim);
    let mut spans = lines.filter_map(|line| line.strip_prefix("WAL statistics between "));
    let (_, end) = spans.next()?.split_once(" and ")?;
    end.strip_suffix(':')?.parse().ok()
}

/// How many transactions were committed, by the statistics of each kind of record; none if there are no statistics.
pub(super) fn commits(stdout: &str) -> Option<u64> {
    end(stdout)?;
    let counted = stdout.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let number = words.next()?.parse::<u64>().ok()?;
        matches!(kind, "Transaction/COMMIT" | "Transaction/COMMIT_PREPARED").then_some(number)
    });
    Some(counted.sum())
}

/// Was there nothing behind the position that it began at?
pub(super) fn is_empty(stderr: &str) -> bool {
    stderr.contains("could not find a valid record after")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_is_counted_and_nothing_else() {
        let said = "WAL statistics between 0/1500708 and 0/1528328:\n\
                    Type                       N      (%)          Record size      (%)\n\
                    Transaction/COMMIT       184 ( 98.92)                 6256 ( 97.60)\n\
                    Transaction/ABORT          1 (  0.54)                   34 (  0.53)\n\
                    Transaction/COMMIT_PREPARED  2 (  0.54)                120 (  1.87)\n\
                    Total                    187                          6410 [100%]\n";
        assert_eq!(commits(said), Some(186));
        let none = "WAL statistics between 0/1500708 and 0/1528328:\nType  N  (%)\n";
        assert_eq!(commits(none), Some(0));
        assert_eq!(commits("pg_waldump: error"), None);
    }

    #[test]
    fn the_end_is_behind_the_last_record() {
        let said = "WAL statistics between 0/1500708 and 0/1528328:\nType  N  (%)\n";
        assert_eq!(end(said), Some(Lsn(0x152_8328)));
        assert_eq!(end("Type  N  (%)"), None);
        assert!(is_empty(
            "pg_waldump: error: could not find a valid record after 0/3000000"
        ));
    }
}
