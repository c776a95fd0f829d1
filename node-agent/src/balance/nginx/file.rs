//! The `server` lines of one `upstream` block in a file of nginx's configuration, and nothing else of it.
//!
//! The file belongs to the machine's owner. What is changed of it is the word `down` in one line; every other byte stays
//! as it is, comments, weights and all. The text is read as nginx reads it (nginx's `ngx_conf_file.c`, *Configuration
//! file*: words, quotes, `#` at the beginning of a word, `;`, `{` and `}`), so that a `server` in a comment or in another
//! block is not taken for one. Where it is not certain which line is meant, nothing is changed.

use std::ops::Range;

/// An `upstream` block, with its lines.
#[derive(Debug)]
pub(super) struct Upstream<'t> {
    text: &'t str,
    servers: Vec<Line<'t>>,
}

/// One `server` line.
#[derive(Debug)]
struct Line<'t> {
    /// As it is written, without quotes.
    address: &'t str,
    /// Where its parameters are, the address among them.
    words: Vec<Range<usize>>,
    number: usize,
}

/// The file cannot be understood, or does not say which line is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    /// It is not written as nginx wants it.
    #[error("line {line}: {what}")]
    Unreadable { line: usize, what: &'static str },
    /// There is no such block.
    #[error(
        "it has no upstream {upstream}; it has {}",
        super::super::listed(known)
    )]
    NoUpstream {
        upstream: String,
        known: Vec<String>,
    },
    /// There are several.
    #[error("it has more than one upstream {upstream}, in lines {first} and {second}")]
    TwoUpstreams {
        upstream: String,
        first: usize,
        second: usize,
    },
    /// There is no such line.
    #[error(
        "upstream {upstream} has no server {server}; it has {}",
        super::super::listed(known)
    )]
    NoServer {
        upstream: String,
        server: String,
        known: Vec<String>,
    },
    /// There are several.
    #[error(
        "upstream {upstream} has server {server} more than once, in lines {first} and {second}"
    )]
    TwoServers {
        upstream: String,
        server: String,
        first: usize,
        second: usize,
    },
    /// The changed text does not read as it should.
    #[error("line {line} cannot be changed without changing what else it says")]
    Unsafe { line: usize },
}

impl<'t> Upstream<'t> {
    /// The only block of this name in the text, at whatever depth.
    ///
    /// # Errors
    /// See [`Unclear`].
    pub(super) fn find(text: &'t str, name: &str) -> Result<Self, Unclear> {
        let mut reader = Reader { text, at: 0 };
        let mut blocks: Vec<Option<&str>> = Vec::new();
        let mut known: Vec<(&str, usize)> = Vec::new();
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut servers = Vec::new();
        let unreadable = |at: usize, what| Unclear::Unreadable {
            line: line_of(text, at),
            what,
        };
        while let Some((token, at)) = reader.next()? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    let plain: Vec<&str> = words.iter().map(|it| plain(text, it)).collect();
                    let upstream = match plain.as_slice() {
                        ["upstream", name] => Some(*name),
                        _ => None,
                    };
                    known.extend(upstream.map(|name| (name, line_of(text, at))));
                    blocks.push(upstream);
                    words.clear();
                }
                Token::End => {
                    let is_server = words.first().is_some_and(|it| plain(text, it) == "server");
                    if blocks.last() == Some(&Some(name)) && is_server && words.len() > 1 {
                        let words: Vec<Range<usize>> = words.drain(1..).collect();
                        servers.push(Line {
                            address: plain(text, &words[0]),
                            number: line_of(text, words[0].start),
                            words,
                        });
                    }
                    words.clear();
                }
                Token::Close => {
                    if blocks.pop().is_none() || !words.is_empty() {
                        return Err(unreadable(at, "this '}' closes nothing"));
                    }
                }
            }
        }
        if !blocks.is_empty() || !words.is_empty() {
            return Err(unreadable(
                text.len(),
                "the file ends within a block or a line",
            ));
        }
        let mut found = known.iter().filter(|(known, _)| *known == name);
        match (found.next(), found.next()) {
            (Some(_), None) => Ok(Self { text, servers }),
            (Some((_, first)), Some((_, second))) => Err(Unclear::TwoUpstreams {
                upstream: name.to_owned(),
                first: *first,
                second: *second,
            }),
            (None, _) => Err(Unclear::NoUpstream {
                upstream: name.to_owned(),
                known: known.iter().map(|(name, _)| (*name).to_owned()).collect(),
            }),
        }
    }

    /// Is this server marked `down`?
    ///
    /// # Errors
    /// If there is no such line, or more than one.
    pub(super) fn is_down(&self, upstream: &str, server: &str) -> Result<bool, Unclear> {
        let line = self.line(upstream, server)?;
        Ok(self.marks(line).next().is_some())
    }

    /// The text with this server marked `down`, or not so marked.
    ///
    /// # Errors
    /// If there is no such line, or more than one, or it cannot be changed alone.
    pub(super) fn with(&self, upstream: &str, server: &str, down: bool) -> Result<String, Unclear> {
        let line = self.line(upstream, server)?;
        let mut text = self.text.to_owned();
        let marks: Vec<Range<usize>> = self.marks(line).collect();
        match (down, line.words.last()) {
            (true, Some(last)) if marks.is_empty() => text.insert_str(last.end, " down"),
            (true, _) => {}
            (false, _) => {
                for mark in marks.into_iter().rev() {
                    let before = &text[..mark.start];
                    let start = before.trim_end_matches([' ', '\t']).len();
                    text.replace_range(start..mark.end, "");
                }
            }
        }
        let reads_well =
            Upstream::find(&text, upstream).is_ok_and(|again| self.is_but_for(line, &again, down));
        if reads_well {
            Ok(text)
        } else {
            Err(Unclear::Unsafe { line: line.number })
        }
    }

    /// Is the other one this one, but for that line, which says what it said, and whether it is down?
    fn is_but_for(&self, changed: &Line<'_>, other: &Upstream<'_>, down: bool) -> bool {
        let said = |upstream: &Upstream<'_>, line: &Line<'_>, all: bool| -> Vec<String> {
            let words = line.words.iter().map(|word| &upstream.text[word.clone()]);
            let kept = words.filter(|word| all || *word != "down");
            kept.map(str::to_owned).collect()
        };
        let same = |(one, two): (&Line<'_>, &Line<'_>)| {
            let all = !std::ptr::eq(one, changed);
            said(self, one, all) == said(other, two, all)
                && (all || other.marks(two).next().is_some() == down)
        };
        self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(same)
    }

    fn line(&self, upstream: &str, server: &str) -> Result<&Line<'t>, Unclear> {
        let mut found = self.servers.iter().filter(|line| line.address == server);
        match (found.next(), found.next()) {
            (Some(line), None) => Ok(line),
            (Some(first), Some(second)) => Err(Unclear::TwoServers {
                upstream: upstream.to_owned(),
                server: server.to_owned(),
                first: first.number,
                second: second.number,
            }),
            (None, _) => Err(Unclear::NoServer {
                upstream: upstream.to_owned(),
                server: server.to_owned(),
                known: self
                    .servers
                    .iter()
                    .map(|line| line.address.to_owned())
                    .collect(),
            }),
        }
    }

    /// Where a line says `down`.
    fn marks<'l>(&'l self, line: &'l Line<'_>) -> impl Iterator<Item = Range<usize>> + 'l {
        let parameters = line.words.iter().skip(1);
        parameters
            .filter(|word| &self.text[(*word).clone()] == "down")
            .cloned()
    }
}

/// A word without its quotes. What is escaped in it stays so: no name that is looked for needs an escape.
fn plain<'t>(text: &'t str, word: &Range<usize>) -> &'t str {
    let word = &text[word.clone()];
    let quoted = |quote| word.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(word)
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

enum Token {
    Word(Range<usize>),
    /// `;`
    End,
    Open,
    Close,
}

/// Reads words and signs.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    /// The next one, and where it is; none at the end.
    fn next(&mut self) -> Result<Option<(Token, usize)>, Unclear> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                None => return Ok(None),
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'#') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                Some(_) => break,
            }
        }
        let start = self.at;
        let token = match bytes[start] {
            b';' => Token::End,
            b'{' => Token::Open,
            b'}' => Token::Close,
            quote @ (b'"' | b'\'') => {
                self.at = self.quoted(start, quote)?;
                return Ok(Some((Token::Word(start..self.at), start)));
            }
            _ => {
                self.at = self.bare(start);
                return Ok(Some((Token::Word(start..self.at), start)));
            }
        };
        self.at += 1;
        Ok(Some((token, start)))
    }

    /// The end of a word in quotes, after which nginx wants a space, `;`, `{` or `)`.
    fn quoted(&self, start: usize, quote: u8) -> Result<usize, Unclear> {
        let bytes = self.text.as_bytes();
        let unreadable = |what| Unclear::Unreadable {
            line: line_of(self.text, start),
            what,
        };
        let mut at = start + 1;
        while let Some(byte) = bytes.get(at) {
            match *byte {
                b'\\' => at += 2,
                byte if byte == quote => {
                    let ends = matches!(
                        bytes.get(at + 1),
                        None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')')
                    );
                    let what = "something follows a closing quote";
                    return ends.then_some(at + 1).ok_or_else(|| unreadable(what));
                }
                _ => at += 1,
            }
        }
        Err(unreadable("a quote is not closed"))
    }

    /// The end of a word without quotes. The brace of `${name}` does not end it.
    fn bare(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at += 1,
                b'{' if at > start && bytes[at - 1] == b'$' => {}
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => return at,
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# server a:1; upstream web {
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
upstream other { server a:1; server b:1 down; }
upstream web {
    ip_hash;                       # never delete a line: it moves everybody
    server a:1 weight=2 max_fails=3;
	server  "b:1"   # the second
        fail_timeout=10s ; server c:1 down weight=5;
    #server d:1;
    keepalive 16;
}
server {
    listen 80;
    location / { proxy_pass http://web${uri}; add_header X "a;{}\"b"; }
}
"#;

    fn down(text: &str, server: &str) -> Result<bool, Unclear> {
        Upstream::find(text, "web")?.is_down("web", server)
    }

    fn with(text: &str, server: &str, down: bool) -> String {
        let upstream = Upstream::find(text, "web").unwrap();
        upstream.with("web", server, down).unwrap()
    }

    #[test]
    fn a_line_is_marked_and_unmarked_and_nothing_else_of_the_file_changes() {
        for (server, before, after) in [
            (
                "a:1",
                "server a:1 weight=2 max_fails=3;",
                "server a:1 weight=2 max_fails=3 down;",
            ),
            (
                "b:1",
                "fail_timeout=10s ; server c",
                "fail_timeout=10s down ; server c",
            ),
        ] {
            assert_eq!(down(FILE, server), Ok(false));
            let marked = with(FILE, server, true);
            // The block `other` comes first, and has a line like it.
            let (head, tail) = FILE.split_once("upstream web {\n").unwrap();
            let expected = tail.replacen(before, after, 1);
            assert_eq!(marked, format!("{head}upstream web {{\n{expected}"));
            assert_eq!(down(&marked, server), Ok(true));
            assert_eq!(with(&marked, server, true), marked);
            assert_eq!(with(&marked, server, false), FILE);
        }
        assert_eq!(down(FILE, "c:1"), Ok(true));
        assert_eq!(
            with(FILE, "c:1", false),
            FILE.replace("server c:1 down weight=5;", "server c:1 weight=5;")
        );
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_named_and_not_guessed() {
        let known = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
        let no_server = Unclear::NoServer {
            upstream: "web".into(),
            server: "d:1".into(),
            known,
        };
        assert_eq!(down(FILE, "d:1"), Err(no_server));
        assert_eq!(
            Upstream::find(FILE, "wbe").unwrap_err().to_string(),
            "it has no upstream wbe; it has other, web"
        );
        for (text, why) in [
            (
                "upstream web { server a:1; }\nstream { upstream web { server a:1; } }",
                "it has more than one upstream web, in lines 1 and 2",
            ),
            (
                "upstream web { server a:1;\n server 'a:1' backup; }",
                "upstream web has server a:1 more than once, in lines 1 and 2",
            ),
            (
                "upstream web { server a:1; ",
                "line 1: the file ends within a block or a line",
            ),
            (
                "upstream web { server a:1; }\n}",
                "line 2: this '}' closes nothing",
            ),
            (
                "upstream web {\n server \"a:1; }",
                "line 2: a quote is not closed",
            ),
        ] {
            assert_eq!(down(text, "a:1").unwrap_err().to_string(), why);
        }
    }
}
