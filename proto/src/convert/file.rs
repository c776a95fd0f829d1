//! Files of services: wire and core.

use interlock_model::action::Command;
use interlock_model::file::{FileWork, MAX_TEXT, Piece, Text};
use interlock_model::names::{LocalName, ServiceName};

use super::{Invalid, name};
use crate::v1;

/// What is asked for with a file, for the wire.
pub(super) fn file_to_wire(
    service: &ServiceName,
    file: &LocalName,
    work: &FileWork,
) -> v1::FileCommand {
    use v1::file_command::Work as Wire;
    v1::FileCommand {
        service: service.to_string(),
        file: file.to_string(),
        work: Some(match work {
            FileWork::Try(text) => Wire::TryText(text_to_wire(text)),
            FileWork::Write(text) => Wire::Write(text_to_wire(text)),
            FileWork::Restore => Wire::Restore(v1::RestoreFile {}),
        }),
    }
}

/// What is asked for with a file, from the wire.
pub(super) fn file_from_wire(wire: &v1::FileCommand) -> Result<Command, Invalid> {
    use v1::file_command::Work as Wire;
    Ok(Command::File {
        service: name("file.service", &wire.service)?,
        file: name("file.file", &wire.file)?,
        work: match &wire.work {
            Some(Wire::TryText(text)) => FileWork::Try(text_from_wire(text)?),
            Some(Wire::Write(text)) => FileWork::Write(text_from_wire(text)?),
            Some(Wire::Restore(_)) => FileWork::Restore,
            None => return Err(Invalid::missing("file.work")),
        },
    })
}

fn text_to_wire(text: &Text) -> v1::FileText {
    use v1::file_piece::Piece as Wire;
    let pieces = text.pieces.iter().map(|piece| v1::FilePiece {
        piece: Some(match piece {
            Piece::Plain(text) => Wire::Plain(text.clone()),
            Piece::Secret(name) => Wire::Secret(name.to_string()),
        }),
    });
    v1::FileText {
        pieces: pieces.collect(),
    }
}

fn text_from_wire(wire: &v1::FileText) -> Result<Text, Invalid> {
    use v1::file_piece::Piece as Wire;
    let pieces = wire.pieces.iter().map(|piece| match &piece.piece {
        Some(Wire::Plain(text)) => Ok(Piece::Plain(text.clone())),
        Some(Wire::Secret(secret)) => Ok(Piece::Secret(name("file.text.secret", secret)?)),
        None => Err(Invalid::missing("file.text.piece")),
    });
    let text = Text {
        pieces: pieces.collect::<Result<_, _>>()?,
    };
    if text.len() > MAX_TEXT {
        let what = format!("has {} bytes, and may have {MAX_TEXT}", text.len());
        return Err(Invalid::new("file.text", what));
    }
    Ok(text)
}
