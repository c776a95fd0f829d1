//! `pki`: the cluster's authority and its certificates. Needs no cluster.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use interlock_mesh::credentials::Files;
use interlock_mesh::identity::{Identity, Kind, Subject};
use interlock_mesh::pki::{
    CertificateAuthority, Existing, IssueRequest, Issued, SubjectName, WriteError,
};
use interlock_model::names::{ClusterName, NameError};

use crate::cli::{Issue, IssueCommand, Names, PkiCommand, PkiInit};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates are valid from a little before they are made: the clocks of the machines that look at them differ.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(5 * 60);

pub(super) fn run(command: PkiCommand, out: Out) -> Outcome {
    match command {
        PkiCommand::Init(args) => init(args, out),
        PkiCommand::Issue(command) => issue(&command, out),
    }
}

fn init(args: PkiInit, out: Out) -> Outcome {
    let authority = CertificateAuthority::init(args.cluster, not_before(), DAY * args.days)
        .map_err(anyhow::Error::new)?;
    private_directory(&args.dir)?;
    authority.save(&args.dir).map_err(keep_the_authority)?;
    let dir = args.dir.display();
    out.line(
        &CertificateAuthority::cert_path(&args.dir)
            .display()
            .to_string(),
    )?;
    out.line(
        &CertificateAuthority::key_path(&args.dir)
            .display()
            .to_string(),
    )?;
    let flag = match args.dir.as_os_str().to_str() {
        Some("pki") => String::new(),
        _ => format!(" --dir {dir}"),
    };
    out.say(&format!(
        "This is the authority of cluster {}, valid for {} days.\n\
         Whoever has {dir}/ca.key can make anybody a member: keep it off the cluster's machines, and keep a copy.\n\
         Next, for each coordinator, each node and each person:\n  \
         interlockctl pki issue coordinator NODE --address IP{flag}\n  \
         interlockctl pki issue agent NODE...{flag}\n  \
         interlockctl pki issue operator YOU --role admin{flag}",
        authority.cluster(),
        args.days,
    ))?;
    Ok(Exit::Ok)
}

fn issue(command: &IssueCommand, out: Out) -> Outcome {
    let (kind, issue, address) = match command {
        IssueCommand::Agent { issue, address } => (Kind::Agent, issue, address.as_slice()),
        IssueCommand::Coordinator { issue, address } => {
            (Kind::Coordinator, issue, address.as_slice())
        }
        IssueCommand::Operator { issue, .. } => (Kind::Operator, issue, [].as_slice()),
    };
    let mut names: Vec<String> = Vec::new();
    for name in Names::all(&issue.names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > 1 && !(address.is_empty() && issue.out.is_none()) {
        return Err(Failure::Usage(
            "--address and --out are about one name: issue the certificates one by one".to_owned(),
        ));
    }
    let authority = load(&issue.dir)?;
    // All or none: what can be refused is refused before the first file is written.
    let subjects: Result<Vec<Subject>, NameError> =
        names.iter().map(|name| subject(command, name)).collect();
    let subjects = subjects.map_err(|error| Failure::Usage(error.to_string()))?;
    let ready: Result<Vec<Ready>, Failure> = subjects
        .into_iter()
        .map(|subject| Ready::new(&authority, subject, address, issue))
        .collect();
    for (at, one) in ready?.iter().enumerate() {
        let files = one.save(&authority, issue).inspect_err(|_| {
            if let (issued @ [_, ..], left) = names.split_at(at) {
                let (issued, left) = (issued.join(", "), left.join(", "));
                // The failure is told next; that this cannot be said would be told then as well.
                drop(out.say(&format!("issued: {issued}; not issued: {left}")));
            }
        })?;
        for file in [&files.certificate, &files.key, &files.authority] {
            out.line(&file.display().to_string())?;
        }
    }
    out.say(&next_steps(kind, issue, &names, authority.cluster()))?;
    Ok(Exit::Ok)
}

fn subject(command: &IssueCommand, name: &str) -> Result<Subject, NameError> {
    Ok(match command {
        IssueCommand::Agent { .. } => Subject::Agent(name.parse()?),
        IssueCommand::Coordinator { .. } => Subject::Coordinator(name.parse()?),
        IssueCommand::Operator { role, .. } => Subject::Operator {
            name: name.parse()?,
            role: (*role).into(),
        },
    })
}

/// A certificate that is made and not written yet. It gets a directory of its own: what is copied to a machine is that
/// directory, and there the files have the same names on every machine.
struct Ready {
    issued: Issued,
    kind: Kind,
    directory: PathBuf,
}

impl Ready {
    fn new(
        authority: &CertificateAuthority,
        subject: Subject,
        address: &[SubjectName],
        issue: &Issue,
    ) -> Result<Self, Failure> {
        let identity = Identity::new(authority.cluster().clone(), subject);
        let kind = identity.kind();
        let names = if kind.serves() {
            let own = own_name(identity.name());
            std::iter::once(own)
                .chain(address.iter().cloned())
                .collect()
        } else {
            Vec::new()
        };
        let directory = directory(issue, kind, identity.name());
        let files = Files::named(&directory, kind.as_str());
        if let Some(there) = [files.key, files.certificate]
            .into_iter()
            .find(|file| !issue.replace && file.exists())
        {
            return Err(refuse_to_replace(WriteError::Exists(there)));
        }
        let issued = authority
            .issue(&IssueRequest {
                identity,
                names,
                not_before: not_before(),
                life: DAY * issue.days,
            })
            .map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Self {
            issued,
            kind,
            directory,
        })
    }

    fn save(&self, authority: &CertificateAuthority, issue: &Issue) -> Result<Files, Failure> {
        private_directory(&self.directory)?;
        let existing = if issue.replace {
            Existing::Replace
        } else {
            Existing::Keep
        };
        let pem = authority.cert_pem();
        self.issued
            .save(&self.directory, self.kind.as_str(), pem, existing)
            .map_err(refuse_to_replace)
    }
}

/// A member under its own name, for other tools. A name of the spec may have what no host name has, such as `_`; that harms
/// nobody.
fn own_name(name: &str) -> SubjectName {
    name.parse()
        .unwrap_or_else(|_| SubjectName::Dns(name.to_owned()))
}

fn directory(issue: &Issue, kind: Kind, name: &str) -> PathBuf {
    issue
        .out
        .clone()
        .unwrap_or_else(|| issue.dir.join(kind.as_str()).join(name))
}

fn next_steps(kind: Kind, issue: &Issue, names: &[String], cluster: &ClusterName) -> String {
    let first = names.first().map_or("NAME", String::as_str);
    let from = directory(issue, kind, first);
    let from = from.display();
    let each = if names.len() > 1 {
        "each directory to its node, for example"
    } else {
        "the three files to the node"
    };
    match kind {
        Kind::Operator => format!(
            "Valid for {} days. Use it with\n  \
             interlockctl context add {cluster} --endpoint COORDINATOR --tls-dir {from}",
            issue.days
        ),
        Kind::Agent | Kind::Coordinator => format!(
            "Valid for {} days. Next, copy {each}:\n  \
             scp -p {from}/* root@{first}:/etc/interlock/tls/\n\
             {owner}and name them in its file, /etc/interlock/interlock-{kind}.toml:\n  \
             [tls]\n  \
             ca = \"/etc/interlock/tls/ca.crt\"\n  \
             cert = \"/etc/interlock/tls/{kind}.crt\"\n  \
             key = \"/etc/interlock/tls/{kind}.key\"",
            issue.days,
            // The coordinator has a user of its own; the agent is root.
            owner = match kind {
                Kind::Coordinator => format!(
                    "give the key to the user that the coordinator runs as:\n  \
                     ssh root@{first} chown interlock: /etc/interlock/tls/coordinator.key\n"
                ),
                Kind::Agent | Kind::Operator => String::new(),
            },
        ),
    }
}

fn load(dir: &Path) -> Result<CertificateAuthority, Failure> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|error| {
            Failure::Refused(format!(
                "cannot read the authority's {}: {error}; `interlockctl pki init --cluster NAME --dir {}` makes one, \
                 --dir says where it is",
                path.display(),
                dir.display()
            ))
        })
    };
    let certificate = read(CertificateAuthority::cert_path(dir))?;
    let key = read(CertificateAuthority::key_path(dir))?;
    CertificateAuthority::load(&certificate, &key)
        .map_err(|error| Failure::Refused(format!("{}: {error}", dir.display())))
}

/// Makes a directory that only its owner can look into.
fn private_directory(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))?;
    Ok(())
}

fn refuse_to_replace(error: WriteError) -> Failure {
    match error {
        WriteError::Exists(path) => Failure::Refused(format!(
            "{} is already there and stays as it is: for a new certificate of the same member say --replace",
            path.display()
        )),
        other @ WriteError::Io { .. } => anyhow::Error::new(other).into(),
    }
}

fn keep_the_authority(error: WriteError) -> Failure {
    match error {
        WriteError::Exists(path) => Failure::Refused(format!(
            "{} is already there and stays as it is: an authority is never replaced, since all that it issued would become \
             worthless; for another one name another directory",
            path.display()
        )),
        other @ WriteError::Io { .. } => anyhow::Error::new(other).into(),
    }
}

fn not_before() -> SystemTime {
    SystemTime::now()
        .checked_sub(CLOCK_DIFFERENCE)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
