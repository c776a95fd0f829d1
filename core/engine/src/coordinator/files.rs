//! What files say that a plan would change.
//!
//! Agents are asked while the plan is made, and again before it is started. An answer belongs to whoever asked, and to nobody later:
//! a file may be changed at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_model::file::{Compared, Text, Untold};
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::time::Now;

use super::Coordinator;
use super::message::ToAgent;

/// How long an answer is kept for whoever asked: they may be gone.
const KEPT: Duration = Duration::from_secs(60);

/// How a file compares with what it shall say; why that cannot be told, if so.
pub type Comparison = Result<Compared, Untold>;

/// A question about a file.
#[derive(Debug)]
struct Question {
    node: NodeName,
    asked: Duration,
    answer: Option<Comparison>,
}

/// The questions about files, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<u64, Question>);

impl Coordinator {
    /// Asks an agent how a file of a service compares with a text. Gives the question's number; none if its agent is not heard.
    pub fn compare_file(
        &mut self,
        node: &NodeName,
        (service, file, text): (&ServiceName, &LocalName, &Text),
        now: Now,
    ) -> Option<u64> {
        if !self.view.alive(node) {
            return None;
        }
        let ask = self.new_ask();
        let questions = &mut self.comparisons.0;
        questions.retain(|_, question| now.since(question.asked) < KEPT);
        let question = Question {
            node: node.clone(),
            asked: now.mono,
            answer: None,
        };
        questions.insert(ask, question);
        let message = ToAgent::CompareFile {
            ask,
            service: service.clone(),
            file: file.clone(),
            text: text.clone(),
        };
        self.send(node.clone(), message);
        Some(ask)
    }

    /// An agent has compared a file.
    pub(super) fn file_compared(&mut self, node: &NodeName, ask: u64, answer: Comparison) {
        if let Some(question) = self.comparisons.0.get_mut(&ask)
            && question.node == *node
        {
            question.answer = Some(answer);
        }
    }

    /// Is this question about a file still to be answered?
    #[must_use]
    pub fn is_comparing(&self, ask: u64) -> bool {
        let question = self.comparisons.0.get(&ask);
        question.is_some_and(|it| it.answer.is_none() && self.view.alive(&it.node))
    }

    /// Takes the answer to a question about a file; none if there is none.
    pub fn take_comparison(&mut self, ask: u64) -> Option<Comparison> {
        self.comparisons.0.remove(&ask)?.answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use interlock_model::file::Difference;
    use interlock_model::ids::Term;
    use interlock_model::spec::Spec;
    use interlock_model::time::Timestamp;

    use super::*;
    use crate::coordinator::{FromAgent, Hello, Loaded};

    const SPEC: &str = "
cluster: shop
nodes: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } }
services: { web: { nodes: [a, b], active: all, manager: { process: { name: web } }, files: { app: {} } } }
";

    #[test]
    fn an_answer_counts_for_its_question_and_from_who_was_asked() {
        let at = |seconds| Now {
            mono: Duration::from_secs(seconds),
            wall: Timestamp(0),
        };
        let spec = Arc::new(Spec::parse(SPEC.as_bytes(), "test").unwrap().spec);
        let mut coordinator = Coordinator::recover(Term(1), Loaded::default()).unwrap();
        coordinator.apply_spec(spec, String::new(), String::new(), "anna", at(0));
        let (a, b): (NodeName, NodeName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (web, app) = ("web".parse().unwrap(), "app".parse().unwrap());
        let what = (&web, &app, &Text::default());
        assert_eq!(coordinator.compare_file(&a, what, at(1)), None, "unheard");
        for node in [&a, &b] {
            let hello = FromAgent::Hello(Box::<Hello>::default());
            coordinator.agent(node, hello, at(1));
        }
        let ask = coordinator.compare_file(&a, what, at(2)).unwrap();
        let sent = coordinator.take_output().sends;
        assert!(sent.iter().any(|send| send.to == a
            && matches!(send.message, ToAgent::CompareFile { ask: it, .. } if it == ask)));
        let same = Compared {
            same: true,
            in_use: true,
            difference: Difference::Lines(String::new()),
        };
        let says = |ask| FromAgent::File {
            ask,
            compared: Ok(same.clone()),
        };
        coordinator.agent(&b, says(ask), at(2));
        coordinator.agent(&a, says(ask + 1), at(2));
        assert!(coordinator.is_comparing(ask));
        coordinator.agent(&a, says(ask), at(2));
        assert!(!coordinator.is_comparing(ask));
        assert_eq!(coordinator.take_comparison(ask), Some(Ok(same.clone())));
        assert_eq!(coordinator.take_comparison(ask), None);

        // Nobody waits for who is gone, and nothing is kept for ever.
        let gone = coordinator.compare_file(&b, what, at(3)).unwrap();
        coordinator.session_closed(&b);
        assert!(!coordinator.is_comparing(gone));
        coordinator.compare_file(&a, what, at(100)).unwrap();
        assert_eq!(coordinator.comparisons.0.len(), 1);
    }
}
