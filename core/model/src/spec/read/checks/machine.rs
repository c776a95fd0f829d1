//! `same`, `mount`, `clock` and `haproxy`: what is looked at on the machine itself.

use super::super::members::{proxy_names, socket};
use super::super::{Field, Section};
use super::texts::{filled, path, target};
use crate::check::{ClockCheck, Compared, HaproxyCheck, MountCheck};
use crate::spec::problem::{Problem, quoted};
use crate::spec::shape::{Kind, Shape, default, optional, required};
use crate::spec::yaml::Value;

/// What `same` compares, where it is no file.
pub(super) static COMPARED: Shape = Shape {
    name: "compared",
    doc: "What is compared between the nodes where a check runs.",
    keys: &[required(
        "command",
        Kind::Text,
        "A command of the agent's own file; what it prints is compared, such as a version.",
    )],
    choice: &[],
    later: &[],
};

/// A mounted file system.
pub(super) static MOUNT: Shape = Shape {
    name: "mount check",
    doc: "A file system that has to be mounted on the machine. The kernel's table is read for it, which does not hang with \
          the file system; only the marker is.",
    keys: &[
        required("path", Kind::Text, "The absolute path where it is mounted."),
        optional(
            "source",
            Kind::Text,
            "What has to be mounted there, as the kernel names it: `//store/shared`, `10.1.0.9:/srv`, `/dev/drbd0`.",
        ),
        optional("fstype", Kind::Text, "Its type: `cifs`, `nfs4`, `ext4`."),
        default(
            "writable",
            Kind::Flag,
            "false",
            "It has to be mounted for writing: file systems turn read-only after errors.",
        ),
        optional(
            "marker",
            Kind::Text,
            "A file below the path, relative to it, that can be read; a hung mount is unknown.",
        ),
        optional(
            "content",
            Kind::Text,
            "The exact content of the marker, without a newline at its end.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// A right clock.
pub(super) static CLOCK: Shape = Shape {
    name: "clock check",
    doc: "The clock of the machine, asked against a time server (SNTP, RFC 4330).",
    keys: &[
        required(
            "server",
            Kind::Text,
            "The time server, as `host:port`; the port of NTP is 123.",
        ),
        default(
            "max_offset",
            Kind::Duration,
            "1s",
            "The largest difference. What cannot be measured well enough to tell is unknown.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// An HAProxy of which each server takes clients.
pub(super) static HAPROXY: Shape = Shape {
    name: "haproxy check",
    doc: "The servers of an HAProxy on the machine where the check runs, asked through its runtime socket: each takes clients. \
          A server that a plan has put out, as a member, may be out: it is held so. Where \
          the balancer starts before its members, give the check to a service that comes after them, or neither would ever \
          be healthy.",
    keys: &[
        required(
            "socket",
            Kind::Text,
            "The absolute path of the socket. The agents' own files must permit it (`check_sockets`).",
        ),
        optional(
            "backends",
            Kind::SOME_NAMES,
            "The backends that are looked at; all that HAProxy has, unless some are named.",
        ),
    ],
    choice: &[],
    later: &[],
};

/// Reads a haproxy check.
pub(super) fn haproxy(section: &Section<'_>) -> Option<HaproxyCheck> {
    let socket = section.get("socket").and_then(|field| socket(&field));
    let backends = section
        .get("backends")
        .map(|field| proxy_names(&field))
        .unwrap_or_default();
    Some(HaproxyCheck {
        socket: socket?,
        backends,
    })
}

/// Reads what `same` compares.
pub(super) fn compared(field: &Field<'_>) -> Option<Compared> {
    if let Value::Map(_) = field.yaml.value {
        return field.section(&COMPARED, |section| {
            section.name("command").map(Compared::Command)
        });
    }
    path(field).map(Compared::Path)
}

/// Reads a mount check.
pub(super) fn mount(section: &Section<'_>) -> Option<MountCheck> {
    let path = section.get("path").and_then(|field| path(&field));
    let text = |key| section.get(key).and_then(|field| filled(&field)).map(own);
    let source = text("source");
    let marker = section.get("marker").and_then(|field| relative(&field));
    let content = text("content");
    let (fstype, writable) = (section.text("fstype"), section.flag("writable"));
    if let (Some(_), None) = (&content, section.get("marker")) {
        section.report(
            Problem::error("`content` has no meaning without `marker`")
                .suggest("name the file with `marker`"),
        );
    }
    Some(MountCheck {
        path: path?,
        source,
        fstype,
        writable,
        marker,
        content,
    })
}

fn own((text, _): (&str, String)) -> String {
    text.to_owned()
}

fn relative(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if !example.starts_with('/') && !example.split('/').any(|part| part == "..") {
        return Some(text.to_owned());
    }
    field.report(
        Problem::error(format!("{} is not below the mount", quoted(text)))
            .why("the marker of a mount is relative to its path and has no '..'"),
    );
    None
}

/// Reads a clock check.
pub(super) fn clock(section: &Section<'_>) -> Option<ClockCheck> {
    let server = section.get("server").and_then(|field| target(&field));
    let max_offset = section.duration("max_offset").unwrap_or_default();
    Some(ClockCheck {
        target: server?,
        max_offset,
    })
}
