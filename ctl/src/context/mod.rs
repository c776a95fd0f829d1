//! Contexts: which cluster a command is for, and as whom.
//!
//! A context has the coordinators' endpoints and three files: authority, certificate, key. Contexts live in
//! `$INTERLOCK_CONFIG`, else `$XDG_CONFIG_HOME/interlock/config.toml`, else `~/.config/interlock/config.toml`; one of
//! them is the current one. What a flag or its environment variable says goes before what the context says:
//!
//! | flag | environment | says |
//! |---|---|---|
//! | `--context NAME` | `INTERLOCK_CONTEXT` | which context instead of the current one |
//! | `--endpoint HOST:PORT` | `INTERLOCK_ENDPOINT` | other endpoints |
//! | `--tls-dir DIR` | `INTERLOCK_TLS_DIR` | other files, as `pki issue operator` leaves them |
//!
//! With `--endpoint` and `--tls-dir` no context is needed.

mod file;
mod tls_dir;

pub(crate) use file::{Config, Context, config_path};
pub(crate) use tls_dir::files_in;

use interlock_mesh::channel::Address;
use interlock_mesh::credentials::Files;

use crate::cli::Connection;
use crate::client::Coordinators;
use crate::failure::Failure;

/// The port of a coordinator if an endpoint names none.
pub(crate) const COORDINATOR_PORT: u16 = 7443;

/// The coordinators that the command line, the environment and the current context mean.
pub(crate) fn coordinators(connection: &Connection) -> Result<Coordinators, Failure> {
    let context = chosen(connection)?;
    let endpoints = match (&connection.endpoint[..], &context) {
        ([], Some(context)) => endpoints(&context.endpoints)?,
        ([], None) => return Err(nowhere("endpoint")),
        (given, _) => endpoints(given)?,
    };
    Ok(Coordinators::new(
        endpoints,
        files(connection, context.as_ref())?,
    )?)
}

/// The files of the caller's certificate alone, for talking to an agent.
pub(crate) fn credential_files(connection: &Connection) -> Result<Files, Failure> {
    files(connection, chosen(connection)?.as_ref())
}

fn files(connection: &Connection, context: Option<&Context>) -> Result<Files, Failure> {
    match (&connection.tls_dir, context) {
        (Some(dir), _) => files_in(dir),
        (None, Some(context)) => Ok(context.files()),
        (None, None) => Err(nowhere("tls-dir")),
    }
}

/// The context that is meant, if any is and it is needed.
fn chosen(connection: &Connection) -> Result<Option<Context>, Failure> {
    let complete = !connection.endpoint.is_empty() && connection.tls_dir.is_some();
    if complete && connection.context.is_none() {
        return Ok(None);
    }
    let config = Config::load()?;
    match connection.context.as_deref().or(config.current.as_deref()) {
        Some(name) => config.get(name).cloned().map(Some),
        None => Ok(None),
    }
}

fn nowhere(missing: &str) -> Failure {
    Failure::Usage(format!(
        "which cluster? There is no current context and no --{missing}. Add a context once:\n  \
         interlockctl context add NAME --endpoint HOST:{COORDINATOR_PORT} --tls-dir DIR\n\
         or say it each time: --endpoint HOST:{COORDINATOR_PORT} --tls-dir DIR"
    ))
}

/// Reads endpoints as people write them: `HOST`, `HOST:PORT`, `https://HOST:PORT`.
pub(crate) fn endpoints(texts: &[String]) -> Result<Vec<Address>, Failure> {
    texts
        .iter()
        .map(|text| address(text, COORDINATOR_PORT))
        .collect()
}

/// Reads one address; `port` if it has none.
pub(crate) fn address(text: &str, port: u16) -> Result<Address, Failure> {
    let bare = text.strip_prefix("https://").unwrap_or(text);
    let has_port = match bare.rsplit_once(':') {
        Some((host, _)) => !bare.ends_with(']') && (!host.contains(':') || host.ends_with(']')),
        None => false,
    };
    let full = if has_port {
        bare.to_owned()
    } else {
        format!("{bare}:{port}")
    };
    full.parse()
        .map_err(|error: interlock_mesh::channel::AddressError| Failure::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_leave_out_the_port() {
        for (text, full) in [
            ("mgmt1", "mgmt1:7443"),
            ("mgmt1:7", "mgmt1:7"),
            ("https://mgmt1:7", "mgmt1:7"),
            ("[::1]", "[::1]:7443"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(text, COORDINATOR_PORT).unwrap().as_str(), full);
        }
        assert!(address("::1", 1).is_err());
    }
}
