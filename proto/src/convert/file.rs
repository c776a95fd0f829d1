//! Files of services: wire and core.

use interlock_model::action::Command;
use interlock_model::file::{Compared, Difference, FileWork, MAX_TEXT, Piece, Text, Untold};
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

/// The text of a file, for the wire.
#[must_use]
pub fn text_to_wire(text: &Text) -> v1::FileText {
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

/// The text of a file, from the wire.
///
/// # Errors
/// If it is none, or is too long.
pub fn text_from_wire(wire: &v1::FileText) -> Result<Text, Invalid> {
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

/// How a file compares with what it shall say, for the wire.
#[must_use]
pub fn compared_to_wire(ask: u64, compared: Result<Compared, Untold>) -> v1::FileCompared {
    use v1::file_compared::Answer;
    use v1::file_difference::Shown;
    let answer = match compared {
        Ok(compared) => Answer::Difference(v1::FileDifference {
            same: compared.same,
            in_use: compared.in_use,
            shown: Some(match compared.difference {
                Difference::Lines(lines) => Shown::Lines(lines),
                Difference::Hidden(why) => Shown::Hidden(why),
            }),
        }),
        Err(Untold::Refused(why)) => Answer::Refused(why),
        Err(Untold::Unknown(why)) => Answer::Failed(why),
    };
    v1::FileCompared {
        ask,
        answer: Some(answer),
    }
}

/// How a file compares with what it shall say, from the wire; why that cannot be told, if so.
///
/// # Errors
/// What an agent says that does not know how to answer.
pub fn compared_from_wire(wire: v1::FileCompared) -> Result<Compared, Untold> {
    use v1::file_compared::Answer;
    use v1::file_difference::Shown;
    let said = match wire.answer {
        Some(Answer::Difference(said)) => said,
        Some(Answer::Failed(why)) => return Err(Untold::Unknown(why)),
        Some(Answer::Refused(why)) => return Err(Untold::Refused(why)),
        None => return Err(Untold::Unknown("its answer says nothing".to_owned())),
    };
    Ok(Compared {
        same: said.same,
        in_use: said.in_use,
        difference: match said.shown {
            Some(Shown::Lines(lines)) => Difference::Lines(lines),
            Some(Shown::Hidden(why)) => Difference::Hidden(why),
            None => Difference::Hidden("its agent does not say why".to_owned()),
        },
    })
}
