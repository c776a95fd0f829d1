//! `gates`: what people do and confirm.

use super::Section;
use crate::spec::problem::Problem;
use crate::spec::shape::{Kind, Shape, default, later, required};
use crate::spec::{ManualGate, Role};

/// One gate.
pub(super) static GATE: Shape = Shape {
    name: "gate",
    doc: "Something that a person does or confirms before an operation is complete.",
    keys: &[
        required(
            "manual",
            Kind::Text,
            "What the person is asked to do or to confirm.",
        ),
        required(
            "at_end_of",
            Kind::SomeOf(&PLANS),
            "The kinds of plan at whose end it stands.",
        ),
        default(
            "role",
            Kind::Word {
                words: &["operator", "admin"],
                later: &[],
            },
            "operator",
            "The least role of who may open it.",
        ),
    ],
    choice: &[],
    later: &[later("checks", "a gate that checks open")],
};

const PLANS: Kind = Kind::Word {
    words: &[
        "startup",
        "shutdown",
        "restart",
        "reboot",
        "switchover",
        "failover",
        "failback",
        "evacuate",
        "restore",
    ],
    later: &[],
};

/// Reads a gate.
pub(super) fn gate(section: &Section<'_>) -> ManualGate {
    ManualGate {
        text: section.text("manual").unwrap_or_default(),
        at_end_of: section.words("at_end_of"),
        role: role(section),
    }
}

/// Who may open it. To open a gate is to steer an operation, which a reader may not: a gate for readers would look as if
/// anybody could open it, and they could not.
fn role(section: &Section<'_>) -> Role {
    let given = section.get("role");
    if let Some(field) = given.filter(|field| field.yaml.text() == Some("reader")) {
        field.report(
            Problem::error("a reader cannot open a gate")
                .why("a reader may look at operations, and not steer them")
                .suggest("write operator, or leave `role` out: that is the default"),
        );
        return Role::Operator;
    }
    section.word("role").unwrap_or(Role::Operator)
}
