//! Where a command writes to, and how it prints what came of that.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use super::Format;

/// The rule, for the help.
pub(crate) const PLACE: &str = "\
Here -o is the place that is written to. The words of --format are none: `-o json` is the format, as
with every other command, and a file of such a name is ./json.";

/// The place, if one is named, and the format.
///
/// # Errors
/// If there are two of either.
pub(crate) fn place(
    out: &[PathBuf],
    format: Option<Format>,
) -> Result<(Option<&Path>, Format), String> {
    let (mut place, mut formats): (Option<&Path>, Vec<Format>) =
        (None, format.into_iter().collect());
    for said in out {
        let word = said
            .to_str()
            .and_then(|it| Format::from_str(it, false).ok());
        match (word, place) {
            (Some(format), _) => formats.push(format),
            (None, None) => place = Some(said),
            (None, Some(other)) => {
                return Err(format!(
                    "two places: {} and {}; name one",
                    other.display(),
                    said.display()
                ));
            }
        }
    }
    formats.dedup();
    match formats[..] {
        [] => Ok((place, Format::Table)),
        [format] => Ok((place, format)),
        [..] => Err("two formats: name one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_formats_is_no_place_and_a_path_of_that_name_is() {
        let place = |out: &[&str], format| {
            let out: Vec<PathBuf> = out.iter().map(PathBuf::from).collect();
            super::place(&out, format).map(|(place, format)| (place.map(Path::to_owned), format))
        };
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(&[], None), Ok((None, Format::Table)));
        assert_eq!(place(&["json"], None), Ok((None, Format::Json)));
        assert_eq!(place(&["./json"], None), Ok((at("./json"), Format::Table)));
        assert_eq!(
            place(&["yaml", "b.tar.zst"], None),
            Ok((at("b.tar.zst"), Format::Yaml))
        );
        assert_eq!(
            place(&["json", "b"], Some(Format::Json)),
            Ok((at("b"), Format::Json))
        );
        assert!(place(&["a", "b"], None).is_err());
        assert!(place(&["json"], Some(Format::Yaml)).is_err());
    }
}
