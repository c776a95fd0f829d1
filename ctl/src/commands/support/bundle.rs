//! The file of a bundle.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Public;
use crate::failure::Failure;
use crate::render::now_millis;

/// zstd's own default.
const LEVEL: i32 = 3;

/// A bundle that is being written. Dropped before its end it leaves nothing.
pub(super) struct Bundle {
    path: PathBuf,
    new: PathBuf,
    tar: Option<tar::Builder<zstd::Encoder<'static, BufWriter<File>>>>,
    /// When it is made, in seconds since 1970.
    at: u64,
}

impl Bundle {
    /// Begins a file for its owner alone.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        if path.exists() {
            return Err(Failure::Refused(format!(
                "{} is there already: name another one",
                path.display()
            )));
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let begun = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|file| zstd::Encoder::new(BufWriter::new(file), LEVEL));
        let encoder = begun.with_context(|| format!("cannot write {}", new.display()))?;
        Ok(Self {
            path: path.to_owned(),
            new,
            tar: Some(tar::Builder::new(encoder)),
            at: now_millis() / 1000,
        })
    }

    /// Adds a document, as `NAME.json`. The only way in.
    pub(super) fn add(&mut self, name: &str, what: &impl Public) -> Result<(), Failure> {
        let Some(tar) = &mut self.tar else {
            return Ok(());
        };
        let text = format!("{:#}\n", what.public());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let top = file.split('.').next().unwrap_or_default();
        tar.append_data(&mut header, format!("{top}/{name}.json"), text.as_bytes())
            .with_context(|| format!("cannot write {}", self.new.display()))?;
        Ok(())
    }

    /// Ends it, and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let Some(tar) = self.tar.take() else {
            return Ok(());
        };
        let end = || -> io::Result<()> {
            let file = tar.into_inner()?.finish()?;
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            fs::rename(&self.new, &self.path)
        };
        end().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.tar.take().is_some() {
            // What cannot be removed is half a bundle under a name that says so.
            drop(fs::remove_file(&self.new));
        }
    }
}
