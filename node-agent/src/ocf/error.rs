//! Why an action of a resource agent could not be run.

use std::path::PathBuf;

use interlock_model::names::LocalName;

use super::Unusable;
use crate::config::SecretError;
use crate::shim::{InputTooLong, LaunchError};

/// An action could not be run. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its agent is not there, or does not say what it is.
    #[error(transparent)]
    Agent(#[from] Unusable),
    /// What it is to be told cannot be read.
    #[error("cannot tell {resource} its parameter {parameter}")]
    Secret {
        /// The resource.
        resource: LocalName,
        /// The parameter.
        parameter: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Its secrets are more than can be passed.
    #[error("cannot tell {0} its secrets")]
    Input(LocalName, #[source] InputTooLong),
    /// The directory of state files cannot be made.
    #[error("cannot make {0}, where resource agents keep what they remember ([ocf] state)")]
    State(PathBuf, #[source] std::io::Error),
    /// Its shim could not be started.
    #[error("cannot run `{action}` of {resource}")]
    Launch {
        /// The action.
        action: &'static str,
        /// The resource.
        resource: LocalName,
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// The agent is ending.
    #[error("`{0}` was not finished: the agent is ending")]
    Ending(&'static str),
}
