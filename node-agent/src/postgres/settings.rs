//! `postgresql.auto.conf`: the settings of a server that this program sets.
//!
//! The server reads this file after every other (PostgreSQL documentation, *Parameter Interaction via the Configuration File*),
//! and pg_basebackup(1) and pg_rewind(1) write the upstream of a standby there. A file of our own could therefore never have the
//! last word. Only the lines of our own settings are changed; everything else, comments and foreign settings, stays as it is.

/// A setting and its value; none to leave it to the other files.
pub(super) type Setting = (&'static str, Option<String>);

/// The file with these settings instead of whatever it says of them.
pub(super) fn edit(text: &str, settings: &[Setting]) -> String {
    let ours = |line: &str| {
        let name = name_of(line);
        settings
            .iter()
            .any(|(setting, _)| name.is_some_and(|name| name.eq_ignore_ascii_case(setting)))
    };
    let mut edited = String::new();
    for line in text.lines().filter(|line| !ours(line)) {
        edited += line;
        edited.push('\n');
    }
    for (name, value) in settings {
        if let Some(value) = value {
            edited += &format!("{name} = {}\n", quoted(value));
        }
    }
    edited
}

/// The name that a line begins with; none of a comment or an empty line.
fn name_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
        .unwrap_or(line.len());
    (end > 0).then(|| &line[..end])
}

/// A text of a configuration file: a quote is written twice, and a backslash as well, for `\n` and such mean something. No value
/// of ours has more than one line.
fn quoted(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    format!("'{}'", value.replace(['\n', '\r', '\0'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_settings_are_replaced_and_others_stay_where_they_are() {
        let text = "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'host=old'\n PRIMARY_CONNINFO='host=older'\n\
                    primary_conninfo_x = 'a'\nsynchronous_standby_names 'b'";
        let edited = edit(
            text,
            &[
                (
                    "primary_conninfo",
                    Some(r"host='db1' user='o\'b'".to_owned()),
                ),
                ("synchronous_standby_names", None),
            ],
        );
        assert_eq!(
            edited,
            "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo_x = 'a'\nprimary_conninfo = 'host=''db1'' user=''o\\\\''b'''\n"
        );
    }

    #[test]
    fn to_set_it_twice_changes_nothing() {
        let settings = [("primary_slot_name", Some("interlock_a".to_owned()))];
        let once = edit("", &settings);
        assert_eq!(edit(&once, &settings), once);
    }
}
