//! A Redis server that works, in its role.
//!
//! Spoken natively: the protocol (RESP2, `redis.io/docs/reference/protocol-spec`) is a line for a question and a line or a
//! counted text for an answer. **Text is compared.** A server that refuses (`DENIED` by protected mode, `NOAUTH`), loads
//! (`LOADING`) or has lost its master (`MASTERDOWN`) answers too, and even its own client then exits with 0. And a
//! read-only replica whose master is gone still says `PONG`: so `INFO replication` is asked as well, and a replica without
//! its link is bad, whichever role is wanted.

use std::io;

use interlock_model::check::{ProbeResult, RedisCheck, RedisRole};

use super::outcome::{bad, ok, unknown};
use super::resp::{Reply, Resp};
use super::talk::{Patience, broke};
use super::tls::Stream;
use super::{Names, Trust};
use crate::power::Secret;

/// The longest conversation, in bytes: `INFO replication` of a master with hundreds of replicas.
const MAX_ANSWERS: usize = 256 << 10;

/// How much of what a server says is quoted, in characters.
const QUOTED: usize = 100;

/// Looks at the server.
pub(super) async fn probe(
    names: &Names,
    trust: &Trust,
    check: &RedisCheck,
    password: Option<&Secret>,
    patience: Patience,
) -> ProbeResult {
    let stream = match patience.connect(names, &check.target).await {
        Ok(stream) => stream,
        Err(result) => return result,
    };
    let talk = async {
        let stream: Box<dyn Stream> = match &check.tls {
            None => Box::new(stream),
            Some(tls) => match trust.secure_server(stream, tls, &check.target).await {
                Ok(stream) => stream,
                Err(result) => return result,
            },
        };
        let mut server = Server {
            target: &check.target,
            resp: Resp::new(stream, MAX_ANSWERS),
        };
        match server.look(check, password).await {
            Ok(result) | Err(result) => result,
        }
    };
    patience.talk(&check.target, talk).await
}

struct Server<'c> {
    target: &'c str,
    resp: Resp<Box<dyn Stream>>,
}

impl Server<'_> {
    async fn look(
        &mut self,
        check: &RedisCheck,
        password: Option<&Secret>,
    ) -> Result<ProbeResult, ProbeResult> {
        let target = self.target;
        if let Some(password) = password {
            self.log_in(check.login.user.as_deref(), password).await?;
        }
        match self.ask(&["PING"]).await? {
            Ok(pong) if pong == "PONG" => {}
            Ok(text) | Err(text) => {
                let said = quoted(&text);
                return Err(bad(format!("{target} answers PING with '{said}'")));
            }
        }
        match self.ask(&["INFO", "replication"]).await? {
            Ok(facts) => Ok(judge(check, &facts)),
            Err(text) => Err(unknown(format!(
                "{target} says PONG, but not its role: '{}'",
                quoted(&text)
            ))),
        }
    }

    async fn log_in(&mut self, user: Option<&str>, password: &Secret) -> Result<(), ProbeResult> {
        let mut command = vec!["AUTH"];
        command.extend(user);
        command.push(password.expose());
        match self.ask(&command).await? {
            Ok(text) if text == "OK" => Ok(()),
            Ok(text) | Err(text) => {
                let user =
                    user.map_or_else(|| "by password".to_owned(), |user| format!("of {user}"));
                let why = safe_refusal(&text);
                Err(bad(format!(
                    "{} refuses the login {user}: {why}",
                    self.target
                )))
            }
        }
    }

    /// What it answers: a text, or a refusal.
    async fn ask(&mut self, command: &[&str]) -> Result<Result<String, String>, ProbeResult> {
        let answer = self.resp.ask(command).await.and_then(Reply::text);
        answer.map_err(|error| {
            let why = format!("{}: {}", self.target, broke(&error));
            match error.kind() {
                io::ErrorKind::InvalidData => bad(format!("{why}; is it a Redis server?")),
                _ => unknown(why),
            }
        })
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// Why a login is refused. Only the code of the refusal is told: a server to which `AUTH` is unknown quotes the command
/// that it did not understand, and that is the password.
pub(crate) fn safe_refusal(text: &str) -> String {
    let code = text.split_whitespace().next().unwrap_or_default();
    match code {
        "ERR"
            if text.contains("without any password configured")
                || text.contains("no password is set") =>
        {
            "it has no password (ERR)".to_owned()
        }
        "ERR" => "it does not understand AUTH in this form (ERR)".to_owned(),
        "WRONGPASS" => "wrong user or password (WRONGPASS)".to_owned(),
        code if code.len() <= 20 && code.bytes().all(|b| b.is_ascii_uppercase()) => code.to_owned(),
        _ => "it says something else than OK".to_owned(),
    }
}

/// What the facts of `INFO replication` amount to.
fn judge(check: &RedisCheck, facts: &str) -> ProbeResult {
    let target = &check.target;
    let fact = |name: &str| {
        let mut pairs = facts.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    match fact("role") {
        Some("master") if check.role == Some(RedisRole::Replica) => {
            bad(format!("{target} is a master, expected a replica"))
        }
        Some("master") => {
            let replicas = fact("connected_slaves").unwrap_or("an unknown number of");
            ok(format!("{target} is a master with {replicas} replicas"))
        }
        Some("slave") => {
            let of = format!(
                "{target} is a replica of {}:{}",
                fact("master_host").unwrap_or("?"),
                fact("master_port").unwrap_or("?")
            );
            if check.role == Some(RedisRole::Master) {
                return bad(format!("{of}, expected a master"));
            }
            replica(check, &of, fact)
        }
        Some(role) => unknown(format!(
            "{target} is in the role '{role}', which is not known here"
        )),
        None => unknown(format!("{target} says PONG, but not its role")),
    }
}

fn replica<'f>(
    check: &RedisCheck,
    of: &str,
    fact: impl Fn(&str) -> Option<&'f str>,
) -> ProbeResult {
    match fact("master_link_status") {
        Some("up") => {}
        Some("down") => {
            let since = fact("master_link_down_since_seconds")
                .filter(|seconds| *seconds != "-1")
                .map_or_else(String::new, |seconds| format!(" for {seconds} s"));
            return bad(format!("{of}, and its link to it is down{since}"));
        }
        Some(status) => return unknown(format!("{of}, and its link to it is '{status}'")),
        None => return unknown(format!("{of}, and does not say how its link to it is")),
    }
    let Some(most) = check.max_lag else {
        return ok(format!("{of}, its link is up"));
    };
    match fact("master_last_io_seconds_ago").map(str::parse::<u64>) {
        Some(Ok(seconds)) if seconds > most.as_secs() => bad(format!(
            "{of}, and has not heard of it for {seconds} s, allowed are {most:?}"
        )),
        Some(Ok(seconds)) => ok(format!(
            "{of}, its link is up, last heard of {seconds} s ago"
        )),
        Some(Err(_)) | None => unknown(format!("{of}, and does not say when it last heard of it")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_model::check::{Login, Verdict};

    use super::*;

    fn check(role: Option<RedisRole>, max_lag: Option<u64>) -> RedisCheck {
        RedisCheck {
            target: "r:6379".to_owned(),
            login: Login {
                user: None,
                password: None,
            },
            role,
            max_lag: max_lag.map(Duration::from_secs),
            tls: None,
        }
    }

    #[test]
    fn a_lag_and_a_role_that_are_not_told_are_unknown() {
        let replica = "role:slave\r\nmaster_host:a\r\nmaster_port:1\r\nmaster_link_status:up\r\n";
        let late = format!("{replica}master_last_io_seconds_ago:31\r\n");
        let wanted = Some(RedisRole::Replica);
        for (facts, lag, verdict) in [
            (replica, None, Verdict::Ok),
            (replica, Some(30), Verdict::Unknown),
            (&late, Some(30), Verdict::Bad),
            (&late, Some(31), Verdict::Ok),
            ("role:sentinel\r\n", None, Verdict::Unknown),
            ("role:slave\r\n", None, Verdict::Unknown),
            ("# Replication\r\n", None, Verdict::Unknown),
        ] {
            let result = judge(&check(wanted, lag), facts);
            assert_eq!(result.verdict, verdict, "{facts}: {result:?}");
        }
    }

    #[test]
    fn a_refused_login_does_not_repeat_what_the_server_quotes() {
        let echo = "ERR unknown command `AUTH`, with args beginning with: `app`, `hunter2`, ";
        for text in [echo, "hunter2", "hunter2: denied"] {
            assert!(!safe_refusal(text).contains("hunter2"), "{text}");
        }
        assert_eq!(
            safe_refusal("NOPERM this user has no permissions"),
            "NOPERM"
        );
    }
}
