//! pycti's `enlist_element`, without its recursion: a chain of objects may be as long as it likes.
//!
//! Every step here is one of that function, in its order, for the order shows in what comes out: an object that is
//! entered again while its list of references is still being walked shows the part that was kept so far.

use std::collections::HashSet;

use super::index::{BundleIndex, Held, IndexedObject, ItemRole, Member};
use super::span::Span;
use super::symbols::{Support, SymbolText, Symbols};
use super::{Count, Incompatible, Unsplittable, fault, identity};
use crate::json::{Value, ValueKind};
use crate::limits::REFERENCES_MAX;

/// What became of the objects.
pub struct Enlisted {
    pub items: Vec<IndexedObject>,
    pub members: Vec<Member>,
    pub ids: Vec<SymbolText>,
    pub lists: Vec<Vec<u32>>,
    pub references: Vec<Vec<Span>>,
    pub emitted: Vec<u32>,
    pub incompatible: Vec<Incompatible>,
}

/// Enlists all objects of a bundle, in its order.
pub fn enlist(text: &str, index: BundleIndex<'_>) -> Result<Enlisted, Unsplittable> {
    let mut enlisting = Enlisting::new(text, index);
    for at in 0..enlisting.items.len() {
        enlisting.enlist(enlisting.items[at].id)?;
    }
    let Enlisting { items, members, symbols, lists, references, emitted, incompatible, .. } = enlisting;
    Ok(Enlisted { items, members, ids: symbols.texts, lists, references, emitted, incompatible })
}

/// The state of pycti's splitter. What is listed by id has a place for every symbol.
struct Enlisting<'a> {
    text: &'a str,
    items: Vec<IndexedObject>,
    members: Vec<Member>,
    symbols: Symbols<'a>,
    /// `raw_data`: the object that an id names; of several the last.
    named: Vec<Option<u32>>,
    /// `cache_index`: the object that is done, by the id under which it was reached, and by its internal ids.
    done: Vec<Option<u32>>,
    /// `parent_acc`: how often an id lies on the way here.
    on_the_way: Vec<u32>,
    /// `cache_refs`: which id was found to refer to which.
    referred: HashSet<(u32, u32)>,
    /// References met so far, of all sorts.
    met: usize,
    lists: Vec<Vec<u32>>,
    references: Vec<Vec<Span>>,
    emitted: Vec<u32>,
    incompatible: Vec<Incompatible>,
}

/// One call of `enlist_element` that has begun.
struct Visit {
    /// The id under which the object was reached.
    id: u32,
    item: u32,
    /// The member in work, among all members.
    member: usize,
    deps: Count,
    walk: Option<Walk>,
    /// The reference that was followed from here.
    followed: u32,
}

/// A `*_refs` that is being walked over.
struct Walk {
    from: Source,
    at: usize,
    /// `to_keep`, by its number among the lists.
    kept: u32,
    known: HashSet<u32>,
}

/// What is walked over: a list of the bundle, or one that an earlier visit has left.
enum Source {
    Bundle(Vec<Element>),
    List(u32),
}

#[derive(Clone, Copy)]
enum Element {
    Id(u32),
    /// Python raises when it comes here.
    Odd(&'static str),
}

/// Whether a reference leads to an object that is not done.
enum Entered {
    Counted(Count),
    Begun(Visit),
}

impl<'a> Enlisting<'a> {
    fn new(text: &'a str, index: BundleIndex<'a>) -> Self {
        let BundleIndex { items, members, symbols, .. } = index;
        let ids = symbols.texts.len();
        let mut named = vec![None; ids];
        for (at, item) in items.iter().enumerate() {
            for id in [Some(item.id), item.internal[0], item.internal[1]].into_iter().flatten() {
                named[id as usize] = Some(at as u32);
            }
        }
        Self {
            text,
            items,
            members,
            symbols,
            named,
            done: vec![None; ids],
            on_the_way: vec![0; ids],
            referred: HashSet::new(),
            met: 0,
            lists: Vec::new(),
            references: Vec::new(),
            emitted: Vec::new(),
            incompatible: Vec::new(),
        }
    }

    /// Enlists an object and all that it refers to.
    fn enlist(&mut self, id: u32) -> Result<(), Unsplittable> {
        let Entered::Begun(visit) = self.enter(id) else { return Ok(()) };
        let mut visits = vec![visit];
        while let Some(visit) = visits.last_mut() {
            let counted = match self.advance(visit)? {
                Some(id) => match self.enter(id) {
                    Entered::Counted(deps) => deps,
                    Entered::Begun(inner) => {
                        visits.push(inner);
                        continue;
                    }
                },
                None => {
                    self.finish(visit)?;
                    let deps = visit.deps;
                    visits.pop();
                    deps
                }
            };
            if let Some(outer) = visits.last_mut() {
                self.come_back(outer, &counted);
            }
        }
        Ok(())
    }

    fn enter(&self, id: u32) -> Entered {
        let Some(item) = self.named[id as usize] else { return Entered::Counted(Count::NONE) };
        if let Some(done) = self.done[id as usize] {
            return Entered::Counted(self.items[done as usize].deps);
        }
        let member = self.items[item as usize].members().start;
        Entered::Begun(Visit { id, item, member, deps: Count::ONE, walk: None, followed: 0 })
    }

    /// Goes on to the next reference that is kept, and returns its target; `None` when all members are done.
    fn advance(&mut self, visit: &mut Visit) -> Result<Option<u32>, Unsplittable> {
        let end = self.items[visit.item as usize].members().end;
        loop {
            if let Some(walk) = &mut visit.walk {
                match self.next_of(walk, visit.id, visit.item, visit.member)? {
                    Some(target) => return Ok(Some(self.follow(visit, target))),
                    None => {
                        visit.walk = None;
                        visit.member += 1;
                        continue;
                    }
                }
            }
            if visit.member == end {
                return Ok(None);
            }
            match self.members[visit.member].role {
                ItemRole::Refs | ItemRole::WhereSightedRefs | ItemRole::MarkingRefs => {
                    visit.walk = self.begin_walk(visit.item, visit.member)?;
                    if visit.walk.is_some() {
                        continue;
                    }
                }
                ItemRole::Ref | ItemRole::SourceRef | ItemRole::TargetRef | ItemRole::SightingOfRef => {
                    if let Some(target) = self.one_ref(visit.id, visit.item, visit.member)? {
                        visit.member += 1;
                        return Ok(Some(self.follow(visit, target)));
                    }
                }
                ItemRole::ExternalReferences => self.deduplicate(visit, identity::of_external_reference)?,
                ItemRole::KillChainPhases => {
                    self.deduplicate(visit, |phase| identity::of_kill_chain_phase(phase).map(Some))?;
                }
                ItemRole::Type | ItemRole::Deps | ItemRole::Other => {}
            }
            visit.member += 1;
        }
    }

    fn follow(&mut self, visit: &mut Visit, target: u32) -> u32 {
        self.referred.insert((visit.id, target));
        self.on_the_way[target as usize] += 1;
        visit.followed = target;
        target
    }

    /// Back from a reference: its dependencies are counted, and in a list it is kept.
    fn come_back(&mut self, visit: &mut Visit, counted: &Count) {
        visit.deps.add(counted);
        self.on_the_way[visit.followed as usize] -= 1;
        if let Some(walk) = &mut visit.walk {
            if walk.known.insert(visit.followed) {
                self.lists[walk.kept as usize].push(visit.followed);
            }
            self.members[visit.member].held = Held::Ids(walk.kept);
            walk.at += 1;
        }
    }

    /// The conditions on which a reference is kept, in a list or alone.
    fn is_kept(&self, id: u32, target: u32) -> bool {
        self.symbols.support[target as usize] == Support::Yes
            && self.on_the_way[target as usize] == 0
            && target != id
            && !self.referred.contains(&(target, id))
    }

    fn begin_walk(&mut self, item: u32, member: usize) -> Result<Option<Walk>, Unsplittable> {
        let from = match self.members[member].held {
            Held::Ids(list) => Source::List(list),
            Held::Original(span) => match self.elements(item, member, span.value(self.text))? {
                Some(elements) => Source::Bundle(elements),
                None => return Ok(None),
            },
            Held::Null | Held::References(_) => return Ok(None),
        };
        let kept = self.lists.len() as u32;
        self.lists.push(Vec::new());
        Ok(Some(Walk { from, at: 0, kept, known: HashSet::new() }))
    }

    /// What Python's `for` goes through: a list's elements, a text's characters, an object's keys. `None` for null,
    /// over which pycti does not go.
    fn elements(&mut self, item: u32, member: usize, refs: Value<'a>) -> Result<Option<Vec<Element>>, Unsplittable> {
        let text = self.text;
        let room = REFERENCES_MAX - self.met + 1;
        let elements: Vec<Element> = match refs.kind() {
            ValueKind::Null => return Ok(None),
            ValueKind::List => refs
                .elements()
                .take(room)
                .map(|element| match element.kind() {
                    ValueKind::Text(id) => Element::Id(self.symbols.of_text(text, id)),
                    ValueKind::Null => Element::Odd("null"),
                    ValueKind::Bool(_) => Element::Odd("true or false"),
                    ValueKind::Number(_) => Element::Odd("a number"),
                    ValueKind::List => Element::Odd("a list"),
                    ValueKind::Object => Element::Odd("an object"),
                })
                .collect(),
            ValueKind::Text(letters)
                if self.members[member].role == ItemRole::MarkingRefs && !letters.raw().is_empty() =>
            {
                let what = "has a text in object_marking_refs, where a list belongs: its marking would be lost";
                return Err(self.fault(item, "object_marking_refs", what));
            }
            ValueKind::Text(letters) if letters.raw().len() >= room => return self.meet(item, room).map(|()| None),
            ValueKind::Text(letters) => self.symbols.of_characters(letters).into_iter().map(Element::Id).collect(),
            ValueKind::Object => {
                refs.members().take(room).map(|(key, _)| Element::Id(self.symbols.of_text(text, key))).collect()
            }
            ValueKind::Number(_) | ValueKind::Bool(_) => {
                let key = self.key(member);
                return Err(self.fault(item, &key, &format!("has neither list nor null in {key}")));
            }
        };
        self.make_places();
        self.meet(item, elements.len())?;
        Ok(Some(elements))
    }

    /// So many references more: a bound, for each takes memory.
    fn meet(&mut self, item: u32, more: usize) -> Result<(), Unsplittable> {
        self.met += more;
        if self.met > REFERENCES_MAX {
            return Err(self.fault(item, "", &format!("is in a bundle of more than {REFERENCES_MAX} references")));
        }
        Ok(())
    }

    /// New symbols name no object.
    fn make_places(&mut self) {
        let ids = self.symbols.texts.len();
        self.named.resize(ids, None);
        self.done.resize(ids, None);
        self.on_the_way.resize(ids, 0);
    }

    /// The next element that is kept; the others leave the list as it is so far in their place.
    fn next_of(&mut self, walk: &mut Walk, id: u32, item: u32, member: usize) -> Result<Option<u32>, Unsplittable> {
        loop {
            let element = match &walk.from {
                Source::Bundle(elements) => elements.get(walk.at).copied(),
                Source::List(list) => self.lists[*list as usize].get(walk.at).copied().map(Element::Id),
            };
            match element {
                None => return Ok(None),
                Some(Element::Id(target)) if self.is_kept(id, target) => return Ok(Some(target)),
                Some(Element::Id(_)) => {
                    self.members[member].held = Held::Ids(walk.kept);
                    walk.at += 1;
                }
                Some(Element::Odd(found)) => {
                    let key = self.key(member);
                    let what = format!("has {found} in {key}, where an id belongs");
                    return Err(self.fault_at(item, &key, Some(walk.at), &what));
                }
            }
        }
    }

    /// A `*_ref`: its target if it is kept, else it becomes null.
    fn one_ref(&mut self, id: u32, item: u32, member: usize) -> Result<Option<u32>, Unsplittable> {
        let Held::Original(span) = self.members[member].held else { return Ok(None) };
        let found = match span.value(self.text).kind() {
            ValueKind::Text(target) => {
                let target = self.symbols.of_text(self.text, target);
                self.make_places();
                self.meet(item, 1)?;
                if self.is_kept(id, target) {
                    return Ok(Some(target));
                }
                self.members[member].held = Held::Null;
                return Ok(None);
            }
            ValueKind::Null => return Ok(None),
            ValueKind::Bool(_) => "true or false",
            ValueKind::Number(_) => "a number",
            ValueKind::List => "a list",
            ValueKind::Object => "an object",
        };
        let key = self.key(member);
        Err(self.fault(item, &key, &format!("has {found} in {key}, where an id belongs")))
    }

    /// Keeps the first of the references, or phases, that are one.
    fn deduplicate(
        &mut self,
        visit: &Visit,
        identity: impl Fn(Value<'_>) -> Result<Option<Vec<u8>>, &'static str>,
    ) -> Result<(), Unsplittable> {
        let Held::Original(span) = self.members[visit.member].held else { return Ok(()) };
        let list = span.value(self.text);
        let is_list = match list.kind() {
            ValueKind::Null => return Ok(()),
            ValueKind::List => true,
            // pycti makes a list of what holds nothing.
            ValueKind::Text(_) | ValueKind::Object if !list.is_true() => false,
            _ => {
                let key = self.key(visit.member);
                return Err(self.fault(visit.item, &key, &format!("has no list in {key}")));
            }
        };
        let (mut seen, mut kept, mut count) = (HashSet::new(), Vec::new(), 0);
        for reference in list.elements() {
            let known_by = match reference.kind() {
                ValueKind::Object => identity(reference),
                _ => Err("something else than an object"),
            };
            let known_by = known_by.map_err(|found| {
                let key = self.key(visit.member);
                self.fault_at(visit.item, &key, Some(count), &format!("has {found} in {key}"))
            })?;
            if known_by.is_some_and(|id| seen.insert(id)) {
                kept.push(Span::of(self.text, reference.text()));
            }
            count += 1;
            self.meet(visit.item, 1)?;
        }
        if kept.len() < count || !is_list {
            self.members[visit.member].held = Held::References(self.references.len() as u32);
            self.references.push(kept);
        }
        Ok(())
    }

    /// All references are counted: the object comes out, unless it did already or the platform could not take it.
    fn finish(&mut self, visit: &Visit) -> Result<(), Unsplittable> {
        self.items[visit.item as usize].deps = visit.deps;
        if self.done[visit.id as usize].is_some() {
            return Ok(());
        }
        match self.incompatibility(visit)? {
            None => self.emitted.push(visit.item),
            Some(why) => self.incompatible.push(Incompatible {
                object: visit.item as usize,
                id: self.items[visit.item as usize].shown_id(self.text).unwrap_or_default(),
                why,
            }),
        }
        let internal = self.items[visit.item as usize].internal;
        for id in [Some(visit.id), internal[0], internal[1]].into_iter().flatten() {
            self.done[id as usize] = Some(visit.item);
        }
        Ok(())
    }

    /// Why the platform could not take an object, if so.
    fn incompatibility(&self, visit: &Visit) -> Result<Option<&'static str>, Unsplittable> {
        let raises = |key, what| Err(self.fault(visit.item, key, what));
        let Some(kind) = self.find(visit.item, ItemRole::Type) else { return raises("", "has no type") };
        let kind = match kind {
            Held::Original(span) => match span.value(self.text).kind() {
                ValueKind::Text(kind) => kind.decoded(),
                _ => Default::default(),
            },
            _ => Default::default(),
        };
        if kind.as_ref() == b"relationship" {
            for (role, key, why) in [
                (ItemRole::SourceRef, "source_ref", "its source_ref is null, or was dropped"),
                (ItemRole::TargetRef, "target_ref", "its target_ref is null, or was dropped"),
            ] {
                match self.find(visit.item, role) {
                    None => return raises(key, &format!("is a relationship without {key}")),
                    Some(held) if self.is_null(held) => return Ok(Some(why)),
                    Some(_) => {}
                }
            }
            return Ok(None);
        }
        if kind.as_ref() == b"sighting" {
            let of = self.find(visit.item, ItemRole::SightingOfRef);
            if of.is_none_or(|held| self.is_null(held)) {
                return Ok(Some("its sighting_of_ref is missing or null, or was dropped"));
            }
            let key = "where_sighted_refs";
            let seen = match self.find(visit.item, ItemRole::WhereSightedRefs) {
                Some(held) if self.is_null(held) => {
                    return raises(key, "is a sighting with null in where_sighted_refs");
                }
                Some(Held::Ids(list)) => !self.lists[list as usize].is_empty(),
                _ => false,
            };
            return Ok((!seen).then_some("its where_sighted_refs name nobody"));
        }
        match self.symbols.support[visit.id as usize] {
            Support::Yes => Ok(None),
            Support::No => Ok(Some("its id is of a type that the platform does not know")),
            Support::Raises => raises("id", "has an id that is no text"),
        }
    }

    fn find(&self, item: u32, role: ItemRole) -> Option<Held> {
        self.members[self.items[item as usize].members()].iter().find(|m| m.role == role).map(|m| m.held)
    }

    fn is_null(&self, held: Held) -> bool {
        match held {
            Held::Null => true,
            Held::Original(span) => span.value(self.text).kind() == ValueKind::Null,
            Held::Ids(_) | Held::References(_) => false,
        }
    }

    fn key(&self, member: usize) -> String {
        self.members[member].key.as_text(self.text).lossy().chars().take(200).collect()
    }

    fn fault(&self, item: u32, key: &str, what: &str) -> Unsplittable {
        self.fault_at(item, key, None, what)
    }

    fn fault_at(&self, item: u32, key: &str, element: Option<usize>, what: &str) -> Unsplittable {
        let mut fault = fault(self.text, item as usize, Some(&self.items[item as usize]), key, what);
        if let Some(element) = element {
            fault.place = format!("{}/{element}", fault.place);
        }
        fault
    }
}
