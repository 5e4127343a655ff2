//! Rules that fire together and contradict each other.
//!
//! Two rules of one phase and priority that apply in one position, under the same condition or none, are
//! decided by the order in which they are written alone: the first one wins silently.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use colloquy_flow::{Name, RulePhase};

use crate::{
    check::view::{At, View},
    fault::{At as Placed, Faults},
    source::{SourceEffect, SourceRule},
};

/// What a rule does that another can contradict: to what, and how.
type Deeds = BTreeMap<Subject, Deed>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    Position,
    Slot(Name),
    Flag(Name),
    Timer(Name),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Leads(At),
    Sets(String),
    Clears,
    Raises,
    Lowers,
    Reminds(Duration),
    Forgets,
}

/// Rules that are decided together.
type Group<'s> = (RulePhase, i32, &'s str);

pub(super) fn check(view: &View<'_>, faults: &mut Faults) {
    let mut groups: HashMap<Group<'_>, Vec<usize>> = HashMap::new();
    for (place, rule) in view.source.rules.iter().enumerate() {
        let when = rule.when.as_ref().map_or("", |when| when.value.source().trim());
        groups.entry((rule.phase, rule.priority, when)).or_default().push(place);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|rules| rules.len() > 1).collect();
    groups.sort_unstable();
    for rules in groups {
        group(view, &rules, faults);
    }
}

/// Compares the rules of a group that do different things to the same.
fn group(view: &View<'_>, rules: &[usize], faults: &mut Faults) {
    let mut subjects: BTreeMap<Subject, Vec<(usize, Deed)>> = BTreeMap::new();
    for place in rules {
        for (subject, deed) in view.source.rules.get(*place).map(|rule| deeds(view, rule)).unwrap_or_default() {
            subjects.entry(subject).or_default().push((*place, deed));
        }
    }
    let mut told: HashSet<usize> = HashSet::new();
    for (subject, doers) in subjects {
        let differ = doers.iter().any(|(_, deed)| doers.first().is_some_and(|(_, first)| first != deed));
        if differ && !faults.is_full() {
            compare(view, &subject, &doers, &mut told, faults);
        }
    }
}

/// Compares each rule with the first that does something to the subject in the same position.
fn compare(
    view: &View<'_>,
    subject: &Subject,
    doers: &[(usize, Deed)],
    told: &mut HashSet<usize>,
    faults: &mut Faults,
) {
    let mut first: HashMap<At, usize> = HashMap::new();
    for (doer, (place, deed)) in doers.iter().enumerate() {
        let (Some(rule), Some(at)) = (view.source.rules.get(*place), view.rules.get(*place)) else { continue };
        // A rule that leads to where it applies leads nowhere there.
        for at in at.iter().filter(|at| *deed != Deed::Leads(**at)) {
            let earlier = doers.get(*first.entry(*at).or_insert(doer));
            let Some((earlier, other)) = earlier.filter(|(_, other)| other != deed) else { continue };
            if told.insert(*place)
                && let Some(earlier) = view.source.rules.get(*earlier)
            {
                report(view, *at, [(earlier, other), (rule, deed)], subject, faults);
            }
        }
    }
}

/// Of what a rule does to the same several times, the last: that is its own affair.
fn deeds(view: &View<'_>, rule: &SourceRule) -> Deeds {
    let slot = |name: &Placed<Name>| Subject::Slot(Arc::clone(&name.value));
    let flag = |name: &Placed<Name>| Subject::Flag(Arc::clone(&name.value));
    let timer = |id: &Placed<Name>| Subject::Timer(Arc::clone(&id.value));
    let written = rule.then.iter().filter_map(|effect| match effect {
        SourceEffect::Set(name, value) => Some((slot(name), Deed::Sets(value.value.clone()))),
        SourceEffect::Clear(name) => Some((slot(name), Deed::Clears)),
        SourceEffect::Flag(name) => Some((flag(name), Deed::Raises)),
        SourceEffect::Unflag(name) => Some((flag(name), Deed::Lowers)),
        SourceEffect::Remind(id, after) => Some((timer(id), Deed::Reminds(*after))),
        SourceEffect::Forget(id) => Some((timer(id), Deed::Forgets)),
        _ => None,
    });
    let led = view.target(&rule.then).map(|to| (Subject::Position, Deed::Leads(to)));
    led.into_iter().chain(written).collect()
}

fn report(view: &View<'_>, at: At, pair: [(&SourceRule, &Deed); 2], subject: &Subject, faults: &mut Faults) {
    let [(earlier, other), (rule, deed)] = pair;
    let message = format!(
        "in {}, rules {:?} and {:?} fire under the same condition, but one {} and the other {}",
        view.name(at),
        earlier.id.value,
        rule.id.value,
        told(view, other, subject),
        told(view, deed, subject),
    );
    let fix = "give them different conditions or priorities, or make one of them";
    faults.error("rule-collision", &rule.id.mark, message, fix);
}

fn told(view: &View<'_>, deed: &Deed, subject: &Subject) -> String {
    let name = match subject {
        Subject::Position => "",
        Subject::Slot(name) | Subject::Flag(name) | Subject::Timer(name) => name,
    };
    match deed {
        Deed::Leads(to) => format!("leads to {}", view.name(*to)),
        Deed::Sets(value) => format!("sets {name} to {value:?}"),
        Deed::Clears => format!("clears {name}"),
        Deed::Raises => format!("raises {name}"),
        Deed::Lowers => format!("lowers {name}"),
        Deed::Reminds(after) => format!("sets timer {name} to {after:?}"),
        Deed::Forgets => format!("drops timer {name}"),
    }
}
