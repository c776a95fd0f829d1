//! Power of other nodes: from the call of a coordinator to a fence agent on this node.

use interlock_engine::agent::ledger::Outcome;
use interlock_model::action::{FenceAction, FenceCall, OptionValue, Power};
use interlock_proto::v1;
use tokio::time::Instant;

use super::errand::{Errand, Trouble};
use super::managers::chain;
use crate::config::Secrets;
use crate::power::{
    Action, FenceError, FenceRequest, Fencer, OptionValue as Value, Plug, PowerState, Reply,
    RetryRule,
};

/// The most plugs that are told (`agent.proto`).
const MAX_PLUGS: usize = 2000;

/// The longest name that is told, in characters: hypervisors permit 80 or less. So the longest list has 400 kB, of the
/// 1 MiB of a message.
const MAX_NAME: usize = 100;

/// Runs fence agents with the secrets of this node.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    pub(super) fencer: Fencer,
    pub(super) secrets: Secrets,
}

impl Fence {
    /// Carries an attempt out. Success of *on* and *off* is the fence agent's own verification of the state.
    pub(super) async fn carry_out(
        &self,
        call: &FenceCall,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let request = self.request(call).await.map_err(Trouble::Failed)?;
        let asked = tokio::select! {
            asked = self.fencer.run(&request) => asked,
            halt = errand.halted() => {
                let evidence = format!("{halt}; {} was killed, the power of {} is not known", call.agent, call.node);
                return Err(Trouble::unknown(evidence, true));
            }
        };
        match asked {
            Ok(Reply::Power(PowerState::Unknown { why })) => Err(Trouble::unknown(why, true)),
            Ok(Reply::Power(state)) => {
                Ok(format!("{} says that {} is {state}", call.agent, call.node))
            }
            Ok(Reply::Works | Reply::Plugs(_) | Reply::NoPlugs) => {
                Ok(format!("{} works", call.agent))
            }
            // Switching to a state once more does no harm.
            Err(error) if error.outcome_is_unknown() => Err(Trouble::unknown(chain(&error), true)),
            Err(error) => Err(Trouble::Failed(chain(&error))),
        }
    }

    /// Finds out whether a switch that an earlier process of this agent began has happened. What it left running is ended
    /// before the device is asked: the answer stays true.
    pub(super) async fn find_out(&self, call: &FenceCall) -> Outcome {
        let (power, detail) = self
            .ask(FenceCall {
                action: FenceAction::Status,
                ..call.clone()
            })
            .await;
        match (call.action, power) {
            (FenceAction::On, Power::On) | (FenceAction::Off, Power::Off) => {
                Outcome::Done { evidence: detail }
            }
            _ => {
                let evidence = format!(
                    "the agent was restarted meanwhile; now the power is {power}: {detail}"
                );
                Outcome::Unknown {
                    evidence,
                    repeatable: true,
                }
            }
        }
    }

    /// Asks for the power of a node.
    pub(super) async fn ask(&self, call: FenceCall) -> (Power, String) {
        let action = FenceAction::Status;
        self.power(FenceCall { action, ..call }).await
    }

    /// Switches a node off. *Off* is what the fence agent itself has verified.
    pub(super) async fn switch_off(&self, call: FenceCall) -> (Power, String) {
        let action = FenceAction::Off;
        self.power(FenceCall { action, ..call }).await
    }

    async fn power(&self, call: FenceCall) -> (Power, String) {
        let request = match self.request(&call).await {
            Ok(request) => request,
            Err(why) => return (Power::Unknown, why),
        };
        let asked = Instant::now();
        match self.fencer.run(&request).await {
            Ok(Reply::Power(PowerState::On)) => (Power::On, answered(&call, asked)),
            Ok(Reply::Power(PowerState::Off)) => (Power::Off, answered(&call, asked)),
            Ok(Reply::Power(PowerState::Unknown { why })) => (Power::Unknown, why),
            Ok(Reply::Works | Reply::Plugs(_) | Reply::NoPlugs) => (
                Power::Unknown,
                format!("{} gave another answer", call.agent),
            ),
            Err(error) => (Power::Unknown, chain(&error)),
        }
    }

    /// Asks a device for its plugs.
    pub(super) async fn list(&self, call: &FenceCall) -> v1::plug_list::List {
        use v1::plug_list::List;
        let request = match self.request(call).await {
            Ok(request) => request,
            Err(why) => return List::Failed(why),
        };
        match self.fencer.run(&request).await {
            Ok(Reply::Plugs(plugs)) => List::Plugs(listed(plugs)),
            Ok(Reply::NoPlugs) | Err(FenceError::Unsupported { .. }) => List::NotOffered(true),
            Ok(Reply::Power(_) | Reply::Works) => {
                List::Failed(format!("{} gave another answer", call.agent))
            }
            Err(error) => List::Failed(chain(&error)),
        }
    }

    /// Puts the secrets in. Reading them blocks on a disk.
    async fn request(&self, call: &FenceCall) -> Result<FenceRequest, String> {
        let secrets = self.secrets.clone();
        let options = call.options.clone();
        let read = tokio::task::spawn_blocking(move || {
            let resolve = |value| match value {
                OptionValue::Plain(text) => Ok(Value::Plain(text)),
                OptionValue::Secret(name) => secrets.read(&name).map(Value::Secret),
            };
            options
                .into_iter()
                .map(|(key, value)| Ok((key, resolve(value)?)))
                .collect()
        });
        let options = match read.await {
            Ok(Ok(options)) => options,
            Ok(Err(error)) => {
                let error: crate::config::SecretError = error;
                return Err(chain(&error));
            }
            Err(_) => return Err("the agent is ending".to_owned()),
        };
        Ok(FenceRequest {
            device: call.device.clone(),
            agent: call.agent.clone(),
            action: match call.action {
                FenceAction::On => Action::On,
                FenceAction::Off => Action::Off,
                FenceAction::Status => Action::Status,
                FenceAction::List => Action::List,
            },
            plug: call.plug.clone(),
            node: call.node.clone(),
            options,
            limit: call.limit,
            retry: RetryRule::default(),
        })
    }
}

/// As much of a list as a message carries.
fn listed(plugs: Vec<Plug>) -> v1::Plugs {
    let cut = plugs.len() > MAX_PLUGS;
    let short = |text: String| text.chars().take(MAX_NAME).collect();
    v1::Plugs {
        plugs: plugs
            .into_iter()
            .take(MAX_PLUGS)
            .map(|plug| v1::Plug {
                plug: short(plug.plug),
                alias: plug.alias.map(short).unwrap_or_default(),
            })
            .collect(),
        cut,
    }
}

fn answered(call: &FenceCall, asked: Instant) -> String {
    format!(
        "{} answered for plug {} within {} ms",
        call.agent,
        call.plug,
        asked.elapsed().as_millis()
    )
}
