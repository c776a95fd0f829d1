//! From the spool to the share.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::spool::{PART, files, free};

/// The checksums of a day of a node, as `sha256sum` reads and writes them.
const SUMS: &str = "SHA256SUMS";

/// How much is written before it has to be on the share, and is counted as moved.
const PIECE: usize = 1024 * 1024;

/// Told whenever the share has taken something more. An error of it ends the delivery.
pub(super) type Moved<'m> = &'m mut dyn FnMut() -> io::Result<()>;

/// Brings everything that waits in the spool to `DIR/DAY/NODE/` and takes it out of the spool. Blocks, for as long as the
/// share does not answer. An error says what could not be written, and why. Files may come into the spool meanwhile.
pub(super) fn deliver(
    spool: &Path,
    dir: &Path,
    node: &str,
    moved: Moved<'_>,
) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    for file in files(spool).map_err(|error| failed(spool, error))? {
        let below = file.strip_prefix(spool).unwrap_or(&file);
        let mut parts = below.components();
        let (Some(day), rest) = (parts.next(), parts.as_path()) else {
            continue;
        };
        if file.to_string_lossy().ends_with(PART) {
            continue;
        }
        let home = dir.join(day).join(node);
        let wanted = home.join(rest);
        one(&file, &home, &wanted, moved).map_err(|error| failed(&wanted, error))?;
        fs::remove_file(&file).map_err(|error| failed(&file, error))?;
    }
    prune(spool);
    Ok(())
}

/// Removes the directories below this one that are empty. One that is not, also since a moment ago, stays.
fn prune(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune(&entry.path());
            drop(fs::remove_dir(entry.path()));
        }
    }
}

/// Brings one file there, as a whole or not at all.
fn one(file: &Path, home: &Path, wanted: &Path, moved: Moved<'_>) -> io::Result<()> {
    if let Some(dir) = wanted.parent() {
        fs::create_dir_all(dir)?;
    }
    let sum = digest(file, moved)?;
    let path = match fs::metadata(wanted) {
        // An earlier delivery of it was broken off behind this point.
        Ok(_) if digest(wanted, moved)? == sum => wanted.to_owned(),
        // Another piece of the same day has this name.
        Ok(_) => {
            let bare = wanted.to_string_lossy();
            free(Path::new(bare.trim_end_matches(".gz")), ".gz")
        }
        Err(_) => wanted.to_owned(),
    };
    if !path.exists() {
        let mut part = path.clone().into_os_string();
        part.push(PART);
        let part = PathBuf::from(part);
        let mut to = File::create(&part)?;
        in_pieces(file, &mut |piece| {
            to.write_all(piece)?;
            to.sync_data()?;
            moved()
        })?;
        to.sync_all()?;
        fs::rename(&part, &path)?;
    }
    let line = format!(
        "{sum}  {}\n",
        path.strip_prefix(home).unwrap_or(&path).display()
    );
    let sums = home.join(SUMS);
    if !fs::read_to_string(&sums)
        .unwrap_or_default()
        .contains(&line)
    {
        File::options()
            .create(true)
            .append(true)
            .open(&sums)?
            .write_all(line.as_bytes())?;
    }
    Ok(())
}

fn digest(path: &Path, moved: Moved<'_>) -> io::Result<String> {
    let mut digest = Sha256::new();
    in_pieces(path, &mut |piece| {
        digest.update(piece);
        moved()
    })?;
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Reads a file piece by piece.
fn in_pieces(path: &Path, with: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => with(&piece[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_waits_is_delivered_once_also_if_a_delivery_is_broken_off() {
        let bed = tempfile::tempdir().unwrap();
        let (spool, share) = (bed.path().join("spool"), bed.path().join("share"));
        let waiting = spool.join("20261122/app/x.log.gz");
        put(&waiting, "one");
        put(&spool.join("20261122/app/y.log.gz.part"), "half");
        deliver(&spool, &share, "web1", &mut || Ok(())).unwrap();
        let there = share.join("20261122/web1/app");
        assert_eq!(fs::read_to_string(there.join("x.log.gz")).unwrap(), "one");
        assert!(!waiting.exists() && !there.join("y.log.gz.part").exists());

        // Broken off after it was there and before it was out of the spool: it is known again.
        put(&waiting, "one");
        deliver(&spool, &share, "web1", &mut || Ok(())).unwrap();
        assert!(!there.join("x.log~2.gz").exists());
        // What came later that day is another file.
        put(&waiting, "two");
        deliver(&spool, &share, "web1", &mut || Ok(())).unwrap();
        assert_eq!(fs::read_to_string(there.join("x.log~2.gz")).unwrap(), "two");
        assert!(!spool.join("20261122/app").join("x.log.gz").exists());
        let sums = fs::read_to_string(share.join("20261122/web1/SHA256SUMS")).unwrap();
        let names: Vec<&str> = sums
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["app/x.log.gz", "app/x.log~2.gz"]);
    }

    #[test]
    fn a_large_file_is_told_piece_by_piece_and_ends_with_whoever_is_told() {
        let bed = tempfile::tempdir().unwrap();
        let (spool, share) = (bed.path().join("spool"), bed.path().join("share"));
        let waiting = spool.join("20261122/app/x.log.gz");
        put(&waiting, &"x".repeat(3 * PIECE + 1));
        let mut left = 5;
        let refused = deliver(&spool, &share, "web1", &mut || {
            left -= 1;
            match left {
                0 => Err(io::ErrorKind::BrokenPipe.into()),
                _ => Ok(()),
            }
        });
        // Four pieces of its digest, and the first of four that are written.
        assert!(refused.unwrap_err().contains("x.log.gz"));
        let home = share.join("20261122/web1/app");
        assert_eq!(
            fs::metadata(home.join("x.log.gz.part")).unwrap().len(),
            PIECE as u64
        );
        assert!(waiting.exists() && !home.join("x.log.gz").exists());
        let mut told = 0;
        deliver(&spool, &share, "web1", &mut || {
            told += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(told, 8);
        assert_eq!(
            fs::read(home.join("x.log.gz")).unwrap().len(),
            3 * PIECE + 1
        );
        assert!(spool.exists() && !spool.join("20261122").exists());
    }
}
