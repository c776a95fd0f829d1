//! What nginx says of its own configuration.

use std::fmt;

/// Why nginx refuses its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name of a server cannot be found. nginx looks all of them up when it reads its configuration, and takes none
    /// of it if one fails.
    Unresolvable {
        /// The server as the file writes it.
        server: String,
        /// Where: `FILE:LINE`.
        place: String,
    },
    /// Something else, in its own words.
    Other(String),
    /// It did not say in time.
    Late,
}

impl Verdict {
    /// Reads what `nginx -t` printed: `nginx: [emerg] host not found in upstream "jb9:3000" in /etc/nginx/a.conf:3`, or as
    /// its error log has it, `2026/11/22 11:47:13 [emerg] 82#82: host not found …`.
    pub(super) fn read(printed: &str) -> Self {
        let said = printed.lines().filter_map(|line| {
            let levels = ["[emerg] ", "[alert] ", "[crit] ", "[error] "];
            let (_, said) = levels.iter().find_map(|level| line.split_once(level))?;
            let process = said.split_once(": ").filter(|(process, _)| {
                process.contains('#') && process.bytes().all(|b| b.is_ascii_digit() || b == b'#')
            });
            Some(process.map_or(said, |(_, said)| said).trim())
        });
        let said: Vec<&str> = said.collect();
        for line in &said {
            let Some(rest) = line.strip_prefix("host not found in upstream \"") else {
                continue;
            };
            if let Some((server, rest)) = rest.split_once('"') {
                return Self::Unresolvable {
                    server: server.to_owned(),
                    place: rest.trim().trim_start_matches("in ").to_owned(),
                };
            }
        }
        let text = match said.first() {
            Some(first) => (*first).to_owned(),
            None => printed.lines().next().unwrap_or_default().trim().to_owned(),
        };
        Self::Other(text)
    }

    /// Is it about this server?
    pub(super) fn is_about(&self, member: &str) -> bool {
        matches!(self, Self::Unresolvable { server, .. } if server == member)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolvable { server, place } => {
                write!(f, "the name in server {server} is not found ({place})")
            }
            Self::Other(said) if said.is_empty() => f.write_str("it does not say why"),
            Self::Other(said) => f.write_str(said),
            Self::Late => f.write_str("it has not said within its time limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_found_is_told_from_everything_else() {
        let said = "host not found in upstream \"jb9.invalid:3000\" in /etc/nginx/a.conf:3\n";
        for before in ["nginx: [emerg] ", "2026/11/22 11:47:13 [emerg] 82#82: "] {
            let printed = format!("{before}{said}nginx: configuration file /a test failed\n");
            let verdict = Verdict::read(&printed);
            assert!(verdict.is_about("jb9.invalid:3000") && !verdict.is_about("jb1:3000"));
            assert_eq!(
                verdict.to_string(),
                "the name in server jb9.invalid:3000 is not found (/etc/nginx/a.conf:3)"
            );
        }
        let printed = "nginx: [warn] the \"user\" directive\nnginx: [emerg] unknown directive \"serve\" in /a:1\n";
        assert_eq!(
            Verdict::read(printed),
            Verdict::Other("unknown directive \"serve\" in /a:1".to_owned())
        );
    }
}
