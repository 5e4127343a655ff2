//! What a tool returned, as a value.

use rmcp::model::{CallToolResult, ContentBlock};

use colloquy_flow::Json;

use crate::{
    error::{Error, MalformedKind},
    http::parse,
    port::Answer,
};

/// The value of a result: its structured content if it has one, else its only content, else the list of them. Texts
/// stay texts; of what is no text only kind and media type are named, and the answer is partial.
pub(super) fn answer_of(result: &CallToolResult, bytes_max: usize) -> Result<Answer, Error> {
    if result.is_error == Some(true) {
        return Err(Error::Refused { code: None });
    }
    let too_large = Error::TooLarge { bytes_max };
    if let Some(structured) = &result.structured_content {
        let text = serde_json::to_string(structured).map_err(|_| Error::Malformed(MalformedKind::Json))?;
        if text.len() > bytes_max {
            return Err(too_large);
        }
        return Ok(Answer { value: parse(&text)?, partial: false });
    }
    let texts = result.content.iter().filter_map(|content| content.as_text());
    if texts.map(|text| text.text.len()).sum::<usize>() > bytes_max {
        return Err(too_large);
    }
    let partial = result.content.iter().any(|content| content.as_text().is_none());
    let mut values: Vec<_> = result.content.iter().map(value_of).collect();
    let value = if values.len() == 1 { values.pop().unwrap_or(Json::Null) } else { Json::List(values) };
    let text = value.to_string();
    if text.len() > bytes_max {
        return Err(too_large);
    }
    // Read again, so that the bounds on values hold here too.
    Ok(Answer { value: parse(&text)?, partial })
}

fn value_of(content: &ContentBlock) -> Json {
    let (kind, media_type) = match content {
        ContentBlock::Text(text) => return Json::Text(text.text.as_str().into()),
        ContentBlock::Image(image) => ("image", Some(image.mime_type.as_str())),
        ContentBlock::Audio(audio) => ("audio", Some(audio.mime_type.as_str())),
        ContentBlock::Resource(_) => ("resource", None),
        ContentBlock::ResourceLink(link) => ("resource_link", link.mime_type.as_deref()),
        _ => ("unknown", None),
    };
    let named = [("not_carried", Some(kind)), ("media_type", media_type)];
    Json::object(named.into_iter().filter_map(|(key, text)| Some((key.into(), Json::Text(text?.into())))))
}
