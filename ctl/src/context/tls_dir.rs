//! A directory with an operator's certificate.

use std::path::Path;

use interlock_mesh::credentials::Files;

use crate::failure::Failure;

/// The files in a directory as `pki issue operator` leaves it: `ca.crt`, and one certificate with its key.
pub(crate) fn files_in(dir: &Path) -> Result<Files, Failure> {
    let preferred = Files::named(dir, "operator");
    if preferred.certificate.exists() {
        return Ok(preferred);
    }
    let listed = std::fs::read_dir(dir).map_err(|error| {
        Failure::Refused(format!(
            "cannot read the certificates in {}: {error}; `interlockctl pki issue operator NAME` makes such a directory",
            dir.display()
        ))
    })?;
    let mut names: Vec<String> = listed
        .filter_map(|entry| certificate_with_key(&entry.ok()?.path()))
        .collect();
    names.sort();
    match names.as_slice() {
        [name] => Ok(Files::named(dir, name)),
        [] => Err(Failure::Refused(format!(
            "{} holds no certificate with its key (operator.crt and operator.key): \
             `interlockctl pki issue operator NAME` makes such a directory",
            dir.display()
        ))),
        several => Err(Failure::Refused(format!(
            "{} holds several certificates ({}), and it cannot be told which is yours: \
             use a directory with one, or a context (`interlockctl context add --cert FILE --key FILE`)",
            dir.display(),
            several.join(", ")
        ))),
    }
}

/// The name of a certificate that has a key beside it.
fn certificate_with_key(path: &Path) -> Option<String> {
    let is_certificate = path.extension().is_some_and(|extension| extension == "crt");
    (is_certificate && path.with_extension("key").exists())
        .then(|| path.file_stem()?.to_str().map(ToOwned::to_owned))
        .flatten()
        // The authority's own directory has ca.key; nobody connects with that.
        .filter(|name| name != "ca")
}
