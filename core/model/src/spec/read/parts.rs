//! `manager` and `parts`: what starts and stops an instance.

use super::{Field, Section, ocf};
use crate::action::Part;
use crate::names::ServiceName;
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, later, optional, required};

/// One part.
pub(super) static PART: Shape = Shape {
    name: "manager",
    doc: "What starts and stops one part of an instance. Exactly one of the keys.",
    keys: &[
        optional("systemd", Kind::Section(&SYSTEMD), "A systemd unit."),
        optional(
            "process",
            Kind::Section(&PROCESS),
            "A process that the agent supervises.",
        ),
        optional(
            "exec",
            Kind::Section(&EXEC),
            "Start, stop and check commands of the operator.",
        ),
        optional(
            "ocf",
            Kind::Section(&ocf::OCF),
            "A resource of an OCF resource agent.",
        ),
    ],
    choice: &["systemd", "process", "exec", "ocf"],
    later: &[
        later("address", "an IP address that moves with the primary"),
        later("drbd", "a replicated block device"),
        later("haproxy", "a load balancer"),
        later("mariadb", "a MariaDB or MySQL server"),
        later("mount", "a file system that moves with the primary"),
        later("nginx", "a load balancer"),
        later("pacemaker", "a resource of a Pacemaker cluster"),
        later("postgres", "a PostgreSQL server"),
        later("redis", "a Redis server"),
    ],
};

static SYSTEMD: Shape = Shape {
    name: "systemd unit",
    doc: "A unit that systemd starts and stops.",
    keys: &[required(
        "unit",
        Kind::Text,
        "The unit, with its suffix: `haproxy.service`.",
    )],
    choice: &[],
    later: &[later("on", "a part that runs on the primary only")],
};

static PROCESS: Shape = Shape {
    name: "process",
    doc: "A process that the agent supervises.",
    keys: &[required(
        "name",
        Kind::Text,
        "Its name in the agent's own file, which says what is run.",
    )],
    choice: &[],
    later: &[later("on", "a part that runs on the primary only")],
};

static EXEC: Shape = Shape {
    name: "exec",
    doc: "Start, stop and check commands of the operator.",
    keys: &[required(
        "name",
        Kind::Text,
        "Their name in the agent's own file, which says what is run.",
    )],
    choice: &[],
    later: &[later("on", "a part that runs on the primary only")],
};

/// Reads the parts of a service, in either form.
pub(super) fn parts(section: &Section<'_>, service: &ServiceName) -> Vec<Part> {
    let manager = section.get("manager");
    let parts = section.get("parts");
    if let (Some(_), Some(parts)) = (&manager, &parts) {
        parts.report_key(
            Problem::error("this service has both `manager` and `parts`")
                .why("`manager` is the short form of a single part")
                .suggest("make the manager one of the parts"),
        );
    }
    let items = parts.map(|field| field.items()).unwrap_or_default();
    let fields = manager.iter().chain(&items);
    fields.filter_map(|field| part(field, service)).collect()
}

fn part(field: &Field<'_>, service: &ServiceName) -> Option<Part> {
    field.section(&PART, |section| {
        let systemd = section.optional("systemd", |systemd| {
            systemd.get("unit").and_then(|field| unit(&field))
        });
        let process = section.optional("process", |process| process.name("name"));
        let exec = section.optional("exec", |exec| exec.name("name"));
        let ocf = section.optional("ocf", |ocf| ocf::resource(ocf, service));
        match (systemd, process, exec, ocf) {
            (Some(unit), ..) => Some(Part::Systemd { unit: unit? }),
            (_, Some(name), ..) => Some(Part::Process { name: name? }),
            (_, _, Some(name), _) => Some(Part::Exec { name: name? }),
            (.., Some(resource)) => Some(Part::Ocf(resource?)),
            (None, None, None, None) => None,
        }
    })
}

/// The suffixes of units that can be started and stopped (systemd.unit(5)).
const SUFFIXES: [&str; 7] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "timer",
    "path",
];

/// Reads the name of a systemd unit. The characters are those of systemd.unit(5).
pub(super) fn unit(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let (stem, suffix) = text.rsplit_once('.').unwrap_or((text, ""));
    if text.len() > 255 || !text.bytes().all(allowed) || stem.is_empty() {
        field.report(
            Problem::error(format!(
                "{} is not the name of a systemd unit",
                quoted(text)
            ))
            .why("it is made of letters, digits and any of : - _ . \\ @"),
        );
        return None;
    }
    if !SUFFIXES.contains(&suffix) {
        field.report(
            Problem::error(format!(
                "the unit {} has no suffix that systemd knows",
                quoted(text)
            ))
            .why(format!(
                "units that can be operated end in one of {}",
                SUFFIXES.join(", ")
            ))
            .suggest(format!(
                "did you mean {}?",
                quoted(&format!("{text}.service"))
            )),
        );
        return None;
    }
    Some(text.to_owned())
}
