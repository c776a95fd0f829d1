//! What pg_waldump(1) says of the end of a log.

use super::Lsn;

/// The end of the log that was read: `WAL statistics between 0/1500708 and 0/1528328:` (since version 15).
pub(super) fn end(stdout: &str) -> Option<Lsn> {
    let lines = stdout.lines().map(str::trim);
    let mut spans = lines.filter_map(|line| line.strip_prefix("WAL statistics between "));
    let (_, end) = spans.next()?.split_once(" and ")?;
    end.strip_suffix(':')?.parse().ok()
}

/// Was there nothing behind the position that it began at?
pub(super) fn is_empty(stderr: &str) -> bool {
    stderr.contains("could not find a valid record after")
}

#[cfg(test)]
mod tests {
    use super::*;

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
