//! Who needs whom, directly or through others.

use std::collections::BTreeMap;

use interlock_model::names::ServiceName;
use interlock_model::spec::{Service, Spec};

use crate::cost;

/// Of each service, those that it needs, as one row of bits. Found once: where all need all, following the edges anew for
/// each service would take as long as there are services times edges.
#[derive(Debug)]
pub(crate) struct Needs<'a> {
    /// Dependencies first.
    services: Vec<&'a Service>,
    place: BTreeMap<&'a ServiceName, usize>,
    rows: Vec<Vec<u64>>,
}

impl<'a> Needs<'a> {
    pub(crate) fn new(spec: &'a Spec, ranks: &BTreeMap<ServiceName, u32>) -> Self {
        let mut services: Vec<&Service> = spec.services.values().collect();
        services.sort_by_key(|service| (ranks.get(&service.name), &service.name));
        let places = services.iter().enumerate();
        let place: BTreeMap<&ServiceName, usize> =
            places.map(|(at, service)| (&service.name, at)).collect();
        let mut rows: Vec<Vec<u64>> = Vec::with_capacity(services.len());
        for service in &services {
            let mut row = vec![0; services.len().div_ceil(64)];
            let needed = service.dependencies.iter().filter(|(_, edge)| edge.needed);
            for at in needed.filter_map(|(name, _)| place.get(name).copied()) {
                cost::count(1);
                row[at / 64] |= 1 << (at % 64);
                // What it needs stands before it, except in a circle, which no spec has.
                let below = rows.get(at).into_iter().flatten();
                row.iter_mut()
                    .zip(below)
                    .for_each(|(bits, more)| *bits |= more);
            }
            rows.push(row);
        }
        Self {
            services,
            place,
            rows,
        }
    }

    /// The services that need this one, dependencies first.
    pub(crate) fn above(&self, service: &ServiceName) -> Vec<&'a Service> {
        let Some(at) = self.place.get(service).copied() else {
            return Vec::new();
        };
        let needs = |row: &Vec<u64>| row[at / 64] & (1 << (at % 64)) != 0;
        let rows = self.services.iter().zip(&self.rows);
        rows.filter(|(_, row)| needs(row))
            .map(|(other, _)| *other)
            .collect()
    }
}
