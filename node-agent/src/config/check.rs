//! From the file as written to the configuration: defaults, and everything that TOML cannot say. Reports all problems
//! at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use interlock_model::names::{LocalName, ServiceName};
use toml::Spanned;
use tonic::codegen::http::Uri;

use super::allow::{Allow, Haproxy, Managers, Nginx};
use super::commands::{Exec, Process, Ready, Setting, Shutdown};
use super::files::ManagedFile;
use super::named::Named;
use super::ocf::Ocf;
use super::problem::Problem;
use super::{Config, Lease, Log, LogShare, Secrets, Tls, raw};
use crate::shim::{Stop, StopSignal};

/// Where Linux tells the identity of this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where packages of fence agents put them.
const FENCE_DIR: &str = "/usr/sbin";
/// The bound of the log spool if nothing is said: some days of most machines, and no disk is full by it.
const LOG_SPOOL: u64 = 1 << 30;
/// Where systemd's packages put what reads the journal.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// What a node keeps of its roles for this boot.
const RUNTIME_DIR: &str = "/run/interlock/roles";
/// Where secrets are if nothing is said.
const SECRETS: &str = "/etc/interlock/secrets";
/// Where packages of resource agents put them.
const OCF_PATH: &str = "/usr/lib/ocf/resource.d";
/// Where the library of resource agents expects their state files.
const OCF_STATE: &str = "/run/resource-agents";
/// The time limit of an `exec` command if nothing is said.
const EXEC_LIMIT: Duration = Duration::from_secs(60);
/// The bound of a process's log if nothing is said: a few days of a quiet service.
const LOG_CAP: u64 = 10 << 20;
/// The least bound of a log that keeps anything of use.
const LEAST_LOG_CAP: u64 = 4096;

/// Turns the file into a configuration, or tells all that is wrong with it.
pub(super) fn check(file: &Path, text: &str, raw: raw::File) -> Result<Config, Vec<Problem>> {
    let mut check = Check {
        text,
        problems: Vec::new(),
        tolerated: Vec::new(),
    };
    let processes = check.processes(raw.process);
    let execs = check.execs(raw.exec);
    let shutdown = raw.shutdown.map(|given| Shutdown {
        command: check.command(given.command),
        reboot_command: given.reboot_command.map(|it| check.command(it)),
    });
    check.knows_all(
        &raw.allow,
        |it| &it.postgres,
        &raw.postgres,
        Named::Postgres,
    );
    check.knows_all(&raw.allow, |it| &it.redis, &raw.redis, Named::Redis);
    check.knows_all(&raw.allow, |it| &it.mariadb, &raw.mariadb, Named::Mariadb);
    let files: BTreeMap<_, _> = raw
        .file
        .into_iter()
        .map(|(name, file)| (name, check.managed_file(file)))
        .collect();
    check.knows_all(&raw.allow, |it| &it.files, &files, Named::File);
    let contested = check.contested(&raw.allow);
    let health = check.health(raw.health, &raw.allow, raw.listen.address);
    let allow = Allow {
        contested,
        ..check.allow(file, raw.allow, &processes, &execs, files)
    };
    let postgres = check.postgres(raw.postgres, &processes);
    let state_dir = check.absolute(raw.node.state_dir);
    let redis = check.redis(raw.redis, &processes, &state_dir);
    let mariadb = check.mariadb(raw.mariadb, &processes);
    let config = Config {
        node: raw.node.name,
        state_dir,
        boot_id_path: check.absolute_or(raw.node.boot_id_path, BOOT_ID),
        cgroup: raw.node.cgroup.map(|path| check.absolute(path)),
        coordinators: check.coordinators(raw.coordinators),
        tls: Tls {
            ca: check.absolute(raw.tls.ca),
            cert: check.absolute(raw.tls.cert),
            key: check.absolute(raw.tls.key),
            check_ca: raw.tls.check_ca.map(|path| check.absolute(path)),
        },
        listen: raw.listen.address,
        secrets: Secrets {
            dir: check.absolute_or(raw.secrets.map(|secrets| secrets.dir), SECRETS),
        },
        ocf: check.ocf(raw.ocf),
        allow,
        processes,
        execs,
        postgres,
        redis,
        mariadb,
        logs: check.logs(raw.logs),
        log_share: raw.log_share.map(|share| check.log_share(share)),
        journalctl: match raw.node.journalctl {
            Some(command) => check.command(command),
            None => vec![JOURNALCTL.to_owned()],
        },
        shutdown,
        lease: check.lease(raw.lease),
        watchdog: check.watchdog(raw.watchdog),
        health,
        tolerated: std::mem::take(&mut check.tolerated),
    };
    if check.problems.is_empty() {
        return Ok(config);
    }
    let mut problems = check.problems;
    problems.extend(config.tolerated);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

pub(super) struct Check<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    /// Those that refuse something of the file, and not the file.
    tolerated: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn report(
        &mut self,
        span: &Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems
            .push(Problem::at(self.text, span, what, remedy));
    }

    /// The same of a problem that an agent starts with.
    pub(super) fn tolerate(
        &mut self,
        span: &Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.tolerated
            .push(Problem::at(self.text, span, what, remedy));
    }

    pub(super) fn absolute(&mut self, path: Spanned<PathBuf>) -> PathBuf {
        let span = path.span();
        let path = path.into_inner();
        if !path.is_absolute() {
            let what = format!("'{}' is not an absolute path", path.display());
            self.report(
                &span,
                what,
                "begin it with '/'; the agent's working directory is no part of its meaning",
            );
        }
        path
    }

    pub(super) fn absolute_or(&mut self, path: Option<Spanned<PathBuf>>, default: &str) -> PathBuf {
        path.map_or_else(|| default.into(), |path| self.absolute(path))
    }

    fn coordinators(&mut self, given: Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        if given.get_ref().is_empty() {
            self.report(
                &given.span(),
                "no coordinator is named",
                "name at least one, as \"https://HOST:PORT\"",
            );
        }
        given
            .into_inner()
            .into_iter()
            .map(|one| self.coordinator(one))
            .collect()
    }

    fn coordinator(&mut self, given: Spanned<String>) -> String {
        let span = given.span();
        let given = given.into_inner();
        let remedy = "write it as \"https://HOST:PORT\"";
        match given.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") => {
                self.report(
                    &span,
                    format!("'{given}' is not encrypted, and there is no insecure mode"),
                    remedy,
                );
            }
            Ok(uri)
                if uri.scheme_str() == Some("https")
                    && uri.port().is_some()
                    && uri.path() == "/" => {}
            Ok(_) | Err(_) => self.report(
                &span,
                format!("'{given}' is not the address of a coordinator"),
                remedy,
            ),
        }
        given
    }

    fn ocf(&mut self, given: Option<raw::Ocf>) -> Ocf {
        let (path, state) = given.map_or((None, None), |given| (given.path, given.state));
        Ocf {
            path: match path {
                Some(path) => path.into_iter().map(|it| self.absolute(it)).collect(),
                None => vec![OCF_PATH.into()],
            },
            state: self.absolute_or(state, OCF_STATE),
        }
    }

    pub(super) fn command(&mut self, given: Spanned<Vec<String>>) -> Vec<String> {
        let span = given.span();
        let given = given.into_inner();
        match given.first() {
            None => self.report(
                &span,
                "the command is empty",
                "give the program and its arguments as a list",
            ),
            Some(program) if !Path::new(program).is_absolute() => {
                let what = format!("'{program}' is not an absolute path");
                self.report(
                    &span,
                    what,
                    "give the program with its path; no search path applies here",
                );
            }
            Some(_) => {}
        }
        given
    }

    fn processes(
        &mut self,
        given: BTreeMap<LocalName, raw::Process>,
    ) -> BTreeMap<LocalName, Process> {
        given
            .into_iter()
            .map(|(name, process)| (name, self.process(process)))
            .collect()
    }

    fn process(&mut self, given: raw::Process) -> Process {
        let cap_span = given.command.span();
        let log_cap = given.log_cap.map_or(LOG_CAP, |cap| cap.0);
        if log_cap < LEAST_LOG_CAP {
            self.report(
                &cap_span,
                "log_cap of this process is too small",
                "allow at least 4KiB",
            );
        }
        Process {
            command: self.command(given.command),
            ready: given
                .ready
                .map_or(Ready::Started, |ready| self.ready(&ready)),
            log_cap,
            setting: Setting {
                env: given.env,
                cwd: self.absolute_or(given.cwd, "/"),
                user: given.user,
                stop: stop(given.stop_signal, given.stop_grace),
            },
        }
    }

    fn ready(&mut self, given: &Spanned<raw::Ready>) -> Ready {
        let raw = given.get_ref();
        match (raw.tcp, raw.after) {
            (Some(address), None) => Ready::Tcp {
                address,
                listener: raw.listener.unwrap_or_default(),
            },
            (None, Some(period)) if raw.listener.is_none() => Ready::After(period.0),
            _ => {
                let remedy =
                    "write ready = { tcp = \"127.0.0.1:PORT\" } or ready = { after = \"2s\" }";
                self.report(
                    &given.span(),
                    "readiness is told in exactly one way",
                    remedy,
                );
                Ready::Started
            }
        }
    }

    fn execs(
        &mut self,
        given: BTreeMap<LocalName, Spanned<raw::Exec>>,
    ) -> BTreeMap<LocalName, Exec> {
        given
            .into_iter()
            .map(|(name, exec)| (name, self.exec(exec)))
            .collect()
    }

    fn exec(&mut self, given: Spanned<raw::Exec>) -> Exec {
        let span = given.span();
        let given = given.into_inner();
        let exec = Exec {
            start: given.start.map(|command| self.command(command)),
            stop: given.stop.map(|command| self.command(command)),
            check: given.check.map(|command| self.command(command)),
            time_limit: given.time_limit.map_or(EXEC_LIMIT, |limit| limit.0),
            idempotent: given.idempotent,
            setting: Setting {
                env: given.env,
                cwd: self.absolute_or(given.cwd, "/"),
                user: given.user,
                stop: stop(given.stop_signal, given.stop_grace),
            },
        };
        if exec.start.is_none() && exec.stop.is_none() && exec.check.is_none() {
            self.report(
                &span,
                "it has no command",
                "give it start, stop and check, or check alone",
            );
        }
        exec
    }

    fn log_share(&mut self, given: raw::LogShare) -> LogShare {
        let span = given.dir.span();
        let dir = self.absolute(given.dir);
        let mount = self.absolute(given.mount);
        if !dir.starts_with(&mount) || dir.components().any(|part| part == Component::ParentDir) {
            let what = format!("'{}' is not below '{}'", dir.display(), mount.display());
            self.report(&span, what, "name a directory of what is mounted there");
        }
        let marker = given.marker.map(|marker| {
            let span = marker.span();
            let marker = marker.into_inner();
            let below = marker
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !below || marker.as_os_str().is_empty() {
                let what = format!("'{}' is no file below the mount point", marker.display());
                self.report(
                    &span,
                    what,
                    "write its path from there, without '/' at its beginning",
                );
            }
            marker.display().to_string()
        });
        LogShare {
            dir,
            mount,
            marker,
            at: given.at.map_or(Duration::ZERO, |at| at.0),
            spool: given.spool.map_or(LOG_SPOOL, |spool| spool.0),
        }
    }

    fn logs(&mut self, given: BTreeMap<Spanned<LocalName>, raw::Log>) -> BTreeMap<LocalName, Log> {
        let mut logs = BTreeMap::new();
        for (name, log) in given {
            if matches!(name.get_ref().as_str(), "journal" | "process") {
                let what = format!(
                    "'{}' is what logs of that kind are called already",
                    name.get_ref()
                );
                self.report(&name.span(), what, "give it another name");
            }
            if log.globs.get_ref().is_empty() {
                let remedy = "write globs = [\"/var/log/app/*.log\"]";
                self.report(&log.globs.span(), "it has no files", remedy);
            }
            let name = name.into_inner();
            let service = match (log.service, name.as_str().parse()) {
                (Some(service), _) | (None, Ok(service)) => service,
                // Both kinds of names have one grammar.
                (None, Err(_)) => continue,
            };
            let globs = log.globs.into_inner();
            logs.insert(name, Log { globs, service });
        }
        logs
    }

    fn allow(
        &mut self,
        file: &Path,
        given: raw::Allow,
        processes: &BTreeMap<LocalName, Process>,
        execs: &BTreeMap<LocalName, Exec>,
        files: BTreeMap<LocalName, ManagedFile>,
    ) -> Allow {
        let managers = |check: &mut Self, (name, given): (ServiceName, Spanned<raw::Managers>)| {
            (name, check.managers(given, processes, execs))
        };
        let services = given
            .services
            .into_iter()
            .map(|one| managers(self, one))
            .collect();
        let checks = given.checks.into_iter().map(|name| {
            if execs
                .get(name.get_ref())
                .is_none_or(|exec| exec.check.is_none())
            {
                let what = format!("there is no check command named {}", name.get_ref());
                self.report(
                    &name.span(),
                    what,
                    format!("add [exec.{}] with a `check`", name.get_ref()),
                );
            }
            name.into_inner()
        });
        let checks = checks.collect();
        let fence_dir = match given.fence_dir {
            Some(dirs) => dirs.into_iter().map(|dir| self.absolute(dir)).collect(),
            None => vec![FENCE_DIR.into()],
        };
        Allow {
            file: file.to_owned(),
            services,
            contested: BTreeMap::new(),
            shutdown: given.shutdown,
            reboot: given.reboot,
            power: given
                .power
                .into_iter()
                .map(|name| self.fence_agent(name))
                .collect(),
            fence_dir,
            fence_options: given.fence_options,
            checks,
            probe_targets: given.probe_targets,
            check_secrets: given.check_secrets,
            marker_paths: given
                .marker_paths
                .into_iter()
                .map(|path| self.absolute(path))
                .collect(),
            marker_writes: given
                .marker_writes
                .into_iter()
                .map(|path| self.absolute(path))
                .collect(),
            check_sockets: given
                .check_sockets
                .into_iter()
                .map(|path| self.absolute(path))
                .collect(),
            files,
        }
    }

    fn managers(
        &mut self,
        given: Spanned<raw::Managers>,
        processes: &BTreeMap<LocalName, Process>,
        execs: &BTreeMap<LocalName, Exec>,
    ) -> Managers {
        let span = given.span();
        let raw = given.into_inner();
        let empty = raw.systemd.is_empty() && raw.process.is_none() && raw.exec.is_none();
        if empty
            && raw.ocf.is_empty()
            && raw.address.is_empty()
            && raw.postgres.is_empty()
            && raw.redis.is_empty()
            && raw.mariadb.is_empty()
            && raw.haproxy.is_none()
            && raw.nginx.is_none()
        {
            let remedy = "write { systemd = [\"UNIT\"] }, { process = \"NAME\" }, { exec = \"NAME\" } or \
                 { ocf = [{ agent = \"PROVIDER:TYPE\" }] }";
            self.report(&span, "no manager is named", remedy);
        }
        for unit in raw
            .systemd
            .iter()
            .filter(|unit| !unit.get_ref().contains('.'))
        {
            let what = format!("unit '{}' has no suffix", unit.get_ref());
            self.report(
                &unit.span(),
                what,
                format!("write \"{}.service\"", unit.get_ref()),
            );
        }
        let mut process = Vec::new();
        if let Some(names) = raw.process {
            let span = names.span();
            process = names.into_inner().0;
            for name in &process {
                self.knows(&span, name, processes, Named::Process);
            }
        }
        if let Some(name) = &raw.exec {
            let complete =
                |exec: &Exec| exec.start.is_some() && exec.stop.is_some() && exec.check.is_some();
            if !execs.get(name.get_ref()).is_some_and(complete) {
                let what = format!(
                    "the commands named {} cannot manage a service",
                    name.get_ref()
                );
                let remedy = format!(
                    "give [exec.{}] all of start, stop and check",
                    name.get_ref()
                );
                self.report(&name.span(), what, remedy);
            }
        }
        Managers {
            systemd: raw
                .systemd
                .iter()
                .map(|unit| unit.get_ref().clone())
                .collect(),
            process,
            exec: raw.exec.as_ref().map(|name| name.get_ref().clone()),
            ocf: raw.ocf,
            address: raw.address,
            postgres: raw.postgres.into_iter().map(Spanned::into_inner).collect(),
            redis: raw.redis.into_iter().map(Spanned::into_inner).collect(),
            mariadb: raw.mariadb.into_iter().map(Spanned::into_inner).collect(),
            haproxy: raw.haproxy.map(|haproxy| Haproxy {
                socket: self.absolute(haproxy.socket),
                backends: haproxy.backends,
            }),
            nginx: raw.nginx.map(|nginx| self.nginx(nginx)),
            files: raw.files.into_iter().map(Spanned::into_inner).collect(),
        }
    }

    fn lease(&mut self, given: Option<raw::Lease>) -> Lease {
        let (reset, dir) = given.map_or((None, None), |lease| (lease.reset, lease.runtime_dir));
        Lease {
            reset: reset.unwrap_or_default(),
            runtime_dir: self.absolute_or(dir, RUNTIME_DIR),
        }
    }

    fn nginx(&mut self, raw: raw::Nginx) -> Nginx {
        let test = raw.test.map(|command| self.command(command));
        Nginx {
            file: self.absolute(raw.file),
            upstreams: raw.upstreams,
            test: test.unwrap_or_else(|| Nginx::TEST.map(str::to_owned).to_vec()),
            pid: self.absolute_or(raw.pid, Nginx::PID),
            reload: raw.reload.map(|command| self.command(command)),
        }
    }

    fn fence_agent(&mut self, name: Spanned<String>) -> String {
        let span = name.span();
        let name = name.into_inner();
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            let remedy = "give the program's name, such as \"fence_ipmilan\", and its directory in fence_dir";
            self.report(
                &span,
                format!("'{name}' is not the name of a fence agent"),
                remedy,
            );
        }
        name
    }
}

fn stop(signal: Option<StopSignal>, grace: Option<super::units::Period>) -> Stop {
    let default = Stop::default();
    Stop {
        signal: signal.unwrap_or(default.signal),
        grace: grace.map_or(default.grace, |grace| grace.0),
    }
}
