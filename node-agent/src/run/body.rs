//! The executor that works on this machine.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_engine::agent::Peer;
use interlock_engine::agent::ledger::{Outcome, Permit, Target};
use interlock_mesh::channel;
use interlock_model::action::{Command, FenceCall, Part, Power};
use interlock_model::check::{CheckId, CheckKind};
use interlock_model::file::{Compared, FileWork, Text, Untold};
use interlock_model::ids::{AttemptId, AttemptNo};
use interlock_model::names::{LocalName, ServiceName};
use interlock_proto::convert::installed_to_wire;
use interlock_proto::v1;
use tokio::sync::{MutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::errand::{Errand, Trouble, tag};
use super::fence::Fence;
use super::instance;
use super::instances::Instances;
use super::keeper::{Instance, Proven};
use super::leases::Leases;
use super::machine::Machine;
use super::managers::{Managers, chain, ocf};
use super::members::{Members, Wanted};
use super::probes::Probes;
use super::seen::merge;
use crate::config::Allow;
use crate::facts::FactsReader;
use crate::files::{Files, Job};
use crate::logs::Logs;
use crate::session::{Assignment, Attempt, Clock, Executor, Handle, LeaseMail, LeaseWord};
use crate::shim::Run;
use crate::watchdog;

/// How long what a cancelled change has begun may take to be put back.
const PUT_BACK: Duration = Duration::from_secs(10);

/// The file system dates a change by the kernel's last tick: it may be told as this much older than it is (inode(7); the
/// slowest tick that Linux can be built with, 100 Hz).
const FILE_TIME_LAG: Duration = Duration::from_millis(10);

/// Does on this machine what the ledger has accepted.
pub(super) struct Body {
    pub(super) allow: Allow,
    pub(super) session: Handle,
    pub(super) instances: Instances,
    pub(super) managers: Managers,
    pub(super) leases: Leases,
    pub(super) machine: Machine,
    pub(super) members: Members,
    pub(super) fence: Fence,
    pub(super) files: Files,
    pub(super) probes: Probes,
    pub(super) facts: Arc<Mutex<FactsReader>>,
    pub(super) logs: Logs,
    pub(super) watchdog: watchdog::View,
    pub(super) clock: Clock,
}

impl Body {
    /// Takes over what an earlier process of this agent left: the instances of open attempts are in their hands from
    /// the first moment, and runs that nobody will ask for are forgotten when they end.
    pub(super) fn take_over(&self, runs: Vec<Run>) {
        let open = self.session.open();
        for entry in &open {
            if let Some(Target::Instance(service)) = entry.command.as_ref().map(Target::of) {
                self.instances.of(&service).take();
                self.leases.roles.taken(&service);
            }
        }
        let tags: Vec<String> = open
            .iter()
            .map(|entry| format!("{}.", tag(&entry.id)))
            .collect();
        for run in runs {
            if !tags.iter().any(|tag| run.id().as_str().starts_with(tag)) {
                self.let_go(run);
            }
        }
    }

    /// Forgets a run when the last process of it is gone, and looks then at what may have gone with it.
    fn let_go(&self, run: Run) {
        let instances = self.instances.clone();
        let exec = self.managers.exec.clone();
        tokio::spawn(async move {
            run.gone().await;
            exec.forget(run);
            instances.poke(|part| matches!(part, Part::Exec { .. } | Part::Ocf(_)));
        });
    }

    async fn work(&self, attempt: &Attempt, resumed: bool) -> Outcome {
        let errand = Errand::of(attempt);
        let done = match &attempt.command {
            Command::Start { service, parts }
            | Command::Stop { service, parts }
            | Command::Verify { service, parts } => {
                self.work_on_instance(service, parts, attempt, resumed, &errand)
                    .await
            }
            Command::Promote { service } => self.leases.is_promoted(service, &errand).await,
            Command::Drain {
                balancer,
                member,
                within,
                then,
            } => {
                let wanted = Wanted::Out {
                    within: *within,
                    then: *then,
                };
                let board = self.session.board();
                self.members
                    .switch(balancer, member, wanted, board, &errand)
                    .await
            }
            Command::Admit { balancer, member } => {
                self.members
                    .switch(balancer, member, Wanted::In, self.session.board(), &errand)
                    .await
            }
            Command::File {
                service,
                file,
                work,
            } => {
                self.work_on_file(service, file, work, attempt, &errand)
                    .await
            }
            Command::Shutdown { .. } | Command::Reboot if attempt.earlier_boot => {
                Ok("this machine has been down and has booted since".to_owned())
            }
            Command::Shutdown { by } => self.machine.shut_down(*by, &errand).await,
            Command::Reboot => self.machine.reboot(&errand).await,
            Command::Fence { request } if resumed => return self.fence.find_out(request).await,
            Command::Fence { request } => self.fence.carry_out(request, &errand).await,
        };
        match done {
            Ok(evidence) => Outcome::Done { evidence },
            Err(trouble) => trouble.into(),
        }
    }

    /// Beginning again is harmless: what is in its place is seen, and what was before is kept by the operation's note.
    async fn work_on_file(
        &self,
        service: &ServiceName,
        file: &LocalName,
        work: &FileWork,
        attempt: &Attempt,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let permitted = self.allow.permits_file(service, file);
        let end = CancellationToken::new();
        let job = Job {
            operation: attempt.id.operation,
            name: file.clone(),
            file: permitted
                .map_err(|refusal| Trouble::Failed(refusal.to_string()))?
                .clone(),
            end: end.clone(),
        };
        let mut working = pin!(self.files.work(job, work.clone()));
        let halt = tokio::select! {
            done = &mut working => return done.map_err(|error| Trouble::Failed(chain(&error))),
            halt = errand.halted() => halt,
        };
        // Whoever hears that this is over may start what reads the file.
        end.cancel();
        match tokio::time::timeout(PUT_BACK, working).await {
            Ok(Ok(done)) => Ok(format!("{done}, although {halt} meanwhile")),
            Ok(Err(error)) => Err(Trouble::Failed(format!("{halt}: {}", chain(&error)))),
            Err(_) => {
                let what =
                    format!("{halt}; the file {file} is still worked on, as its disk is slow");
                Err(Trouble::unknown(what, true))
            }
        }
    }

    async fn work_on_instance(
        &self,
        service: &ServiceName,
        parts: &[Part],
        attempt: &Attempt,
        resumed: bool,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        let instance = self.instances.of(service);
        let done = tokio::select! {
            // The guard ends what it has begun, and lets go then.
            acting = self.take_from_guard(service, &instance) => match acting {
                Ok(_acting) => match self.act(service, parts, attempt, resumed, errand).await {
                    Ok(evidence) => self.with_members(service, attempt, evidence, errand).await,
                    Err(trouble) => Err(trouble),
                },
                Err(trouble) => Err(trouble),
            },
            halt = errand.halted() => Err(Trouble::Failed(format!("{halt} before {service} was free; nothing was begun"))),
        };
        let up = !matches!(attempt.command, Command::Stop { .. }) && done.is_ok();
        self.leases.roles.let_go(service);
        instance.give_back(if up { Proven::Up } else { Proven::Nothing });
        done
    }

    /// A load balancer that was started counts as started when its members are as they were put.
    async fn with_members(
        &self,
        service: &ServiceName,
        attempt: &Attempt,
        evidence: String,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        if matches!(
            attempt.command,
            Command::Start { .. } | Command::Verify { .. }
        ) && let Some(assigned) = self.instances.assigned(service)
        {
            self.members
                .restore(service, &assigned.members, errand)
                .await?;
        }
        Ok(evidence)
    }

    /// Waits until the guard has let go and nothing that it began still runs, which an earlier agent's guard may have
    /// begun as well: what the look of an attempt proves stays so.
    async fn take_from_guard<'i>(
        &self,
        service: &ServiceName,
        instance: &'i Instance,
    ) -> Result<MutexGuard<'i, ()>, Trouble> {
        let acting = instance.acting.lock().await;
        self.managers.end_guard_runs(service).await?;
        Ok(acting)
    }

    async fn act(
        &self,
        service: &ServiceName,
        parts: &[Part],
        attempt: &Attempt,
        resumed: bool,
        errand: &Errand<'_>,
    ) -> Result<String, Trouble> {
        if resumed && errand.time_left().is_zero() {
            return self.find_out(parts, attempt).await;
        }
        let assigned = self.instances.assigned(service);
        let leased = assigned.is_some_and(|assigned| assigned.lease.is_some());
        let mut returned = None;
        if matches!(attempt.command, Command::Stop { .. }) {
            returned = self.leases.give_back(service, leased, errand).await?;
        }
        if leased && parts.is_empty() {
            let nothing = "nothing of it runs here but what a primary has";
            return Ok(returned.unwrap_or_else(|| nothing.to_owned()));
        }
        let done = match &attempt.command {
            Command::Stop { .. } => instance::stop(&self.managers, parts, errand).await,
            // What a primary rests on is not taken from under it.
            Command::Verify { .. } if self.leases.holds_a_role(service) => {
                instance::start(&self.managers, parts, errand).await
            }
            Command::Verify { .. } => {
                let since = self.at_work_since(attempt);
                instance::verify(&self.managers, parts, since, errand).await
            }
            _ => instance::start(&self.managers, parts, errand).await,
        }?;
        Ok(match returned {
            Some(returned) => format!("{returned}; {done}"),
            None => done,
        })
    }

    /// Since when the step of this attempt has been at work on this machine, in this boot: what an earlier attempt of it has
    /// started did not come up with the machine, and is not taken down for that.
    fn at_work_since(&self, attempt: &Attempt) -> Duration {
        let this = self.session.entry(&attempt.id);
        let Some(this) = this.filter(|_| !attempt.earlier_boot) else {
            return attempt.accepted;
        };
        let earlier = (1..attempt.id.attempt.0).filter_map(|number| {
            self.session.entry(&AttemptId {
                attempt: AttemptNo(number),
                ..attempt.id.clone()
            })
        });
        let of_this_boot = earlier.filter(|entry| {
            let starts = matches!(
                entry.command,
                Some(Command::Verify { .. } | Command::Start { .. })
            );
            starts && entry.boot == this.boot
        });
        let first = of_this_boot.map(|entry| entry.accepted_mono).min();
        first.map_or(attempt.accepted, |first| first.min(attempt.accepted))
    }

    /// How long all of an instance has been running; none if it does not, or that cannot be told.
    async fn running_for(&self, service: &ServiceName) -> Option<Duration> {
        let assigned = self.instances.assigned(service)?;
        let seen = merge(&self.managers.look_at_all(&assigned.parts).await);
        let since = seen.since_boot.filter(|_| seen.is_running())?;
        Some(self.clock.mono().saturating_sub(since))
    }

    /// Nothing is begun any more: is what was wanted so, however it came about?
    async fn find_out(&self, parts: &[Part], attempt: &Attempt) -> Result<String, Trouble> {
        let seen = merge(&self.managers.look_at_all(parts).await);
        let since = seen
            .since_boot
            .is_some_and(|since| attempt.earlier_boot || since > attempt.accepted);
        let wanted = match &attempt.command {
            Command::Stop { .. } => seen.state.is_down(),
            Command::Verify { .. } => seen.is_running() && since,
            _ => seen.is_running(),
        };
        let text = seen.text();
        if wanted {
            return Ok(format!("{text}, as seen after the agent was restarted"));
        }
        let repeatable = parts.iter().all(|part| self.managers.is_repeatable(part));
        Err(Trouble::unknown(
            format!("the agent was restarted, and the time limit has passed; now {text}"),
            repeatable,
        ))
    }
}

impl Executor for Body {
    fn permit_check(&self, check: &CheckKind) -> Permit {
        match self.allow.permits_check(check) {
            Ok(()) => Permit::Granted,
            Err(refusal) => Permit::Denied(refusal.to_string()),
        }
    }

    fn permit(&self, command: &Command) -> Permit {
        if let Err(refusal) = self.allow.permits(command) {
            return Permit::Denied(refusal.to_string());
        }
        match command {
            // What cannot be started may still be stopped.
            Command::Start { parts, .. } | Command::Verify { parts, .. } => {
                match self.managers.objection(parts) {
                    None => Permit::Granted,
                    Some(why) => Permit::Denied(why),
                }
            }
            Command::Shutdown { .. } | Command::Reboot => match self.machine.objection(command) {
                None => Permit::Granted,
                Some(why) => Permit::Denied(why),
            },
            Command::Stop { .. }
            | Command::Promote { .. }
            | Command::Drain { .. }
            | Command::Admit { .. }
            | Command::File { .. }
            | Command::Fence { .. } => Permit::Granted,
        }
    }

    fn taken(&self, command: &Command) {
        if let Target::Instance(service) = Target::of(command) {
            self.leases.roles.taken(&service);
            self.instances.of(&service).take();
        }
    }

    fn settled(&self, id: &AttemptId) {
        let Some(command) = self.session.entry(id).and_then(|entry| entry.command) else {
            return;
        };
        if let Target::Instance(service) = Target::of(&command) {
            self.session.board().acted_on(&service);
            // While it was open the instance could not be promoted, and nothing but this says that it is over.
            self.instances.of(&service).poke();
        }
        let parts = match &command {
            Command::Start { parts, .. }
            | Command::Stop { parts, .. }
            | Command::Verify { parts, .. } => parts.len(),
            Command::Shutdown { .. } | Command::Reboot => 1,
            Command::Promote { .. }
            | Command::Drain { .. }
            | Command::Admit { .. }
            | Command::File { .. }
            | Command::Fence { .. } => 0,
        };
        for index in 0..parts {
            for verb in ["start", "stop", "shutdown", "reboot"]
                .into_iter()
                .chain(ocf::WORDS)
            {
                let run = format!("{}.p{index}.{verb}", tag(id))
                    .parse()
                    .ok()
                    .and_then(|id| self.managers.runs.get(&id));
                if let Some(run) = run {
                    self.let_go(run);
                }
            }
        }
    }

    fn assigned(&self, assignment: &Assignment) {
        tracing::info!(
            generation = %assignment.mark.generation,
            instances = assignment.instances.len(),
            checks = assignment.checks.len(),
            "assigned"
        );
        let roles = &self.leases.roles;
        self.instances
            .assign(assignment, &self.managers, &self.session, roles, self.clock);
        self.leases.assign(assignment);
        self.probes.assign(assignment, &self.allow);
        let (board, tools) = (self.session.board(), self.probes.tools());
        self.members.assign(assignment, board, tools);
    }

    fn probe_now(&self, checks: Vec<CheckId>) {
        self.probes.run_now(checks);
    }

    async fn execute(&self, attempt: Attempt) -> Outcome {
        self.work(&attempt, false).await
    }

    /// Goes on where the earlier process stopped. That is safe: what it did to processes and units is seen and not done
    /// again, and a command whose run exists is waited for and not started again.
    async fn recover(&self, attempt: Attempt) -> Outcome {
        self.work(&attempt, true).await
    }

    async fn ask_power(&self, call: FenceCall) -> (Power, String) {
        match self.allow.permits_fence(&call.agent) {
            Ok(()) => self.fence.ask(call).await,
            Err(refusal) => (Power::Unknown, refusal.to_string()),
        }
    }

    async fn switch_off(&self, call: FenceCall) -> (Power, String) {
        match self.allow.permits_fence(&call.agent) {
            Ok(()) => self.fence.switch_off(call).await,
            Err(refusal) => (Power::Unknown, refusal.to_string()),
        }
    }

    async fn list_plugs(&self, call: FenceCall) -> v1::plug_list::List {
        match self.allow.permits_fence(&call.agent) {
            Ok(()) => self.fence.list(&call).await,
            Err(refusal) => v1::plug_list::List::Failed(refusal.to_string()),
        }
    }

    async fn compare_file(
        &self,
        service: ServiceName,
        file: LocalName,
        text: Text,
    ) -> Result<Compared, Untold> {
        let work = FileWork::Try(text.clone());
        let (permitted, command) = (
            self.allow.permits_file(&service, &file),
            Command::File {
                service: service.clone(),
                file: file.clone(),
                work,
            },
        );
        // Also what secrets it names.
        let permitted = permitted.and_then(|it| self.allow.permits(&command).map(|()| it));
        let managed = permitted.map_err(|refusal| Untold::Refused(refusal.to_string()))?;
        let found = self.files.compare(&file, managed, text).await;
        let found = found.map_err(|error| match error.is_refusal() {
            true => Untold::Refused(chain(&error)),
            false => Untold::Unknown(chain(&error)),
        })?;
        let age = found.changed.and_then(|at| at.elapsed().ok());
        let running = self.running_for(&service).await;
        Ok(Compared {
            same: found.same,
            in_use: matches!((age, running), (Some(age), Some(running)) if running + FILE_TIME_LAG < age),
            difference: found.difference,
        })
    }

    fn lease_mail(&self, Peer(number): Peer) -> Option<Arc<LeaseMail>> {
        self.leases.roles.mail(usize::try_from(number).ok()?)
    }

    fn lease_session(&self, _: Peer) {
        self.leases.roles.session();
    }

    fn lease_word(&self, _: Peer, word: LeaseWord) {
        if word.commands() && word.term < self.session.term() {
            tracing::warn!(service = %word.service, term = word.term.0, "a word of a lease of an older term is not obeyed");
            return;
        }
        self.leases.roles.word(word);
    }

    fn log_share(&self) -> Option<watch::Receiver<Option<String>>> {
        self.logs.share()
    }

    fn serve_logs(&self, coordinator: &channel::Target, call: u64) {
        self.logs.serve(coordinator, call);
    }

    async fn resource_agents(&self) -> Option<v1::OcfAgents> {
        let installed = self.managers.ocf.catalogue().installed().await;
        Some(installed_to_wire(&installed))
    }

    async fn facts(&self) -> v1::Facts {
        let mut facts = facts(&self.facts);
        self.watchdog.tell(&mut facts);
        facts
    }
}

/// The facts, as a message. Reading them blocks nowhere.
pub(crate) fn facts(reader: &Mutex<FactsReader>) -> v1::Facts {
    // A reader that panicked has changed nothing.
    let facts = reader.lock().unwrap_or_else(PoisonError::into_inner).read();
    v1::Facts {
        hostname: facts.hostname,
        os: facts.os,
        kernel: facts.kernel,
        cpus: facts.cpus,
        memory_bytes: facts.memory_bytes,
        memory_available_bytes: facts.memory_available_bytes,
        machine_uuid: facts.machine_uuid.unwrap_or_default(),
        load_percent: facts.load_percent,
        uptime_s: facts.uptime.as_secs(),
        disks: facts
            .disks
            .into_iter()
            .map(|disk| v1::Disk {
                mount: disk.mount.display().to_string(),
                total_bytes: disk.total_bytes,
                available_bytes: disk.available_bytes,
            })
            .collect(),
        ..v1::Facts::default()
    }
}
