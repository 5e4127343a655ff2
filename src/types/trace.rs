//! The W3C trace context (<https://www.w3.org/TR/trace-context/>): which trace a turn belongs to, from the caller's
//! headers to those of the calls that the turn makes.

use std::{fmt, sync::Arc};

use crate::hex;

/// Longest `tracestate` that is passed on, in bytes: what the recommendation asks everyone to carry at least.
pub const TRACE_STATE_BYTES_MAX: usize = 512;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// A new trace, not sampled by anyone yet. `None` for ids that are all zero, which the recommendation forbids.
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8]) -> Option<Self> {
        let valid = trace_id != [0; 16] && parent_id != [0; 8];
        valid.then_some(Self { trace_id, parent_id, flags: 0, state: None })
    }

    /// Reads the headers `traceparent` and `tracestate`. `None` when the first is not valid, as the recommendation
    /// asks; the second is dropped when it is too long or not printable ASCII.
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut parts = parent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::parse::<1>(version)?;
        // Version 0 ends here; later ones may say more.
        if version == u8::MAX || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = hex::parse::<1>(flags)?;
        let context = Self::new(hex::parse(trace)?, hex::parse(span)?)?;
        let printable = |state: &&str| state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let state = state.filter(|state| !state.is_empty() && state.len() <= TRACE_STATE_BYTES_MAX).filter(printable);
        // Of the flags only "sampled" and "random" are defined.
        Some(Self { flags: flags & 0b11, state: state.map(Arc::from), ..context })
    }

    /// The same trace, with another parent: what is sent along with a call.
    #[must_use]
    pub fn with_parent(&self, parent_id: [u8; 8]) -> Self {
        if parent_id == [0; 8] { self.clone() } else { Self { parent_id, ..self.clone() } }
    }

    /// The value of the header `traceparent`.
    pub fn parent(&self) -> String {
        self.to_string()
    }

    /// The value of the header `tracestate`.
    pub fn state(&self) -> Option<&Arc<str>> {
        self.state.as_ref()
    }

    /// The trace's id: 16 bytes, not all zero.
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }
}

/// As in `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        hex::write(f, &self.trace_id)?;
        f.write_str("-")?;
        hex::write(f, &self.parent_id)?;
        write!(f, "-{:02x}", self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_and_written_again() {
        let context = TraceContext::parse(PARENT, Some("vendor=1,other=2")).expect("it is valid");
        assert_eq!(context.parent(), PARENT);
        assert_eq!(context.state().map(AsRef::as_ref), Some("vendor=1,other=2"));
        let child = context.with_parent([7; 8]);
        assert_eq!(child.parent(), "00-0af7651916cd43dd8448eb211c80319c-0707070707070707-01");
        assert_eq!(child.state(), context.state());
        assert_eq!(context.with_parent([0; 8]), context, "no parent is all zero");
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        let zero_trace = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_parent = PARENT.replace("b7ad6b7169203331", &"0".repeat(16));
        let (long, later_wrong) = (format!("{PARENT}-00"), PARENT.replacen("00", "ff", 1));
        let upper = PARENT.to_uppercase();
        for wrong in ["", "00", PARENT.trim_end_matches("-01"), &zero_trace, &zero_parent, &long, &later_wrong, &upper]
        {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
        let later = PARENT.replacen("00", "cc", 1) + "-what-comes-later";
        assert_eq!(TraceContext::parse(&later, None).map(|context| context.parent()), Some(PARENT.to_owned()));
    }

    #[test]
    fn a_state_that_cannot_be_passed_on_is_dropped() {
        for state in ["", "a=\u{7f}", "a=ü", &"a".repeat(TRACE_STATE_BYTES_MAX + 1)] {
            let context = TraceContext::parse(PARENT, Some(state)).expect("the parent is valid");
            assert_eq!(context.state(), None, "{state}");
        }
    }
}
