//! What is remembered of a file that was written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use interlock_model::ids::OperationId;
use interlock_model::plan::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::replace::Whose;

/// What a file says, and whose it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    #[serde(serialize_with = "to_text", deserialize_with = "from_text")]
    pub(super) bytes: Vec<u8>,
    pub(super) whose: Whose,
}

/// What one operation has done with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Which operation.
    pub(super) operation: OperationId,
    /// What the file was before it; none if there was none.
    pub(super) before: Option<Content>,
    /// The digest of what it was made to be.
    pub(super) after: Digest,
}

impl Note {
    pub(super) fn new(operation: OperationId, before: Option<Content>, after: &Content) -> Self {
        Self {
            operation,
            before,
            after: after.digest(),
        }
    }

    pub(super) fn is_before(&self, now: Option<&Content>) -> bool {
        self.before.as_ref() == now
    }

    pub(super) fn is_after(&self, now: Option<&Content>) -> bool {
        now.is_some_and(|now| now.digest() == self.after)
    }
}

impl Content {
    /// By which it is known again, with its owner and mode.
    pub(super) fn digest(&self) -> Digest {
        let Whose { user, group, mode } = self.whose;
        let mut bytes = format!("{user}:{group}:{mode:o}:").into_bytes();
        bytes.extend_from_slice(&self.bytes);
        Digest::of(&bytes)
    }
}

impl std::fmt::Debug for Content {
    /// There may be secrets in it (invariant I12).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes, {:?})", self.bytes.len(), self.whose)
    }
}

fn to_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
