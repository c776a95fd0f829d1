//! Password files (PostgreSQL documentation, *The Password File*): `HOST:PORT:DATABASE:USER:PASSWORD`, a line each; `*` stands for
//! anything, and a backslash before what is meant literally.
//!
//! The server and its tools read the file themselves. This program reads it for its own sessions, so that no password has to be
//! written down twice.

use crate::power::Secret;

/// Who logs in, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// The host as the connection names it; `localhost` for a socket of the machine.
    pub(super) host: &'w str,
    pub(super) port: u16,
    /// `replication` for a connection of a standby.
    pub(super) database: &'w str,
    pub(super) user: &'w str,
}

/// The password of the first line that fits.
pub(super) fn find(text: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    let wanted = [wanted.host, &port, wanted.database, wanted.user];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let [host, port, database, user, password, ..] = fields.as_slice() else {
            return None;
        };
        let given = [host, port, database, user];
        let fits = given
            .into_iter()
            .zip(wanted)
            .all(|(given, wanted)| given.any || given.text == wanted);
        fits.then(|| Secret::new(password.text.as_str()))
    })
}

/// A field without its backslashes.
struct Field {
    text: String,
    /// It is a `*` that nobody has escaped.
    any: bool,
}

fn fields(line: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut text = String::new();
    let mut raw = String::new();
    let mut characters = line.chars();
    loop {
        match characters.next() {
            Some('\\') => {
                let literal = characters.next().unwrap_or('\\');
                raw.push('\\');
                text.push(literal);
            }
            Some(':') | None if fields.len() < 5 => {
                let any = raw == "*";
                let text = std::mem::take(&mut text);
                raw.clear();
                fields.push(Field { text, any });
                if fields.len() == 5 || characters.as_str().is_empty() {
                    return fields;
                }
            }
            Some(other) => {
                raw.push(other);
                text.push(other);
            }
            None => return fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# of this cluster\n\
        localhost:*:*:interlock:first\n\
        10.0.0.1:5432:replication:repl:se\\:cond\\\\\n\
        \\*:5432:app:a:never\n\
        *:*:*:repl:third\n\
        broken:line\n";

    fn password(host: &str, database: &str, user: &str) -> Option<String> {
        let wanted = Wanted {
            host,
            port: 5432,
            database,
            user,
        };
        find(FILE, wanted).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            password("localhost", "postgres", "interlock"),
            text("first")
        );
        assert_eq!(
            password("10.0.0.1", "replication", "repl"),
            text("se:cond\\")
        );
        assert_eq!(password("10.0.0.1", "postgres", "repl"), text("third"));
        assert_eq!(password("10.0.0.1", "app", "a"), None);
        assert_eq!(password("broken", "line", "x"), None);
    }
}
