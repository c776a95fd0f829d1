//! Brings questions to their peers.

use std::collections::BTreeMap;

use interlock_mesh::credentials::Credentials;
use interlock_model::postgres::Peer;
use tokio::sync::{mpsc, watch};

use super::Question;
use super::line::{Line, Waiting};
use crate::roles::Roles;

/// Brings questions to their peers.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) credentials: Credentials,
    /// Who is told of promises.
    pub(crate) roles: Roles,
}

impl Asker {
    /// Brings all that come. Each peer has a line of its own: one that is away keeps no answer of another one.
    pub(crate) async fn run(self, mut questions: mpsc::UnboundedReceiver<Question>) {
        let mut lines: BTreeMap<Peer, watch::Sender<Waiting>> = BTreeMap::new();
        while let Some(question) = questions.recv().await {
            let line = lines.entry(question.peer.clone()).or_insert_with(|| {
                let (put, waiting) = watch::channel(Waiting::new());
                let line = Line::new(
                    question.peer.clone(),
                    self.credentials.clone(),
                    self.roles.clone(),
                );
                tokio::spawn(line.run(waiting));
                put
            });
            // Only the last one of each service is of use: what was asked before it ends sooner.
            line.send_modify(|waiting| {
                waiting.insert(question.service.clone(), question);
            });
        }
    }
}
