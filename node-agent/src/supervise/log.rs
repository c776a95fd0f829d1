//! What a process said last.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// As much of a log's end as is read for its last line.
const TAIL: u64 = 4096;

/// The longest line that is told, in characters: its end.
const LINE: usize = 200;

/// Where a process logs, and the last line there that is not empty. Blocks on the disk.
pub(super) fn last_words(path: &Path) -> String {
    let shown = path.display();
    match last_line(path) {
        Ok(Some(line)) => format!("the last line of {shown} is: {line}"),
        Ok(None) => format!("{shown} is empty"),
        // A log begins with the first byte that is printed: its absence is not what went wrong.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("it printed nothing, there is no {shown}")
        }
        Err(error) => format!("{shown} cannot be read: {error}"),
    }
}

fn last_line(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    Ok(line.map(|line| {
        let skip = line.chars().count().saturating_sub(LINE);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        line.chars().skip(skip).map(plain).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_told_with_the_path_and_without_what_could_command_a_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        let said = last_words(&path);
        assert!(said.starts_with("it printed nothing"), "{said}");
        assert!(!said.contains("No such file"), "{said}");
        std::fs::write(&path, "\n").unwrap();
        assert!(last_words(&path).ends_with("web.log is empty"));
        assert!(last_words(dir.path()).contains("cannot be read"));
        let long = "x".repeat(10_000);
        std::fs::write(&path, format!("{long}\nno \x1b[31mport\n\n")).unwrap();
        let said = last_words(&path);
        assert!(
            said.starts_with(&format!("the last line of {} is: no", path.display())),
            "{said}"
        );
        assert!(
            said.ends_with("[31mport") && !said.contains('\x1b'),
            "{said}"
        );
        std::fs::write(&path, long).unwrap();
        assert!(last_words(&path).len() < 1000);
    }
}
