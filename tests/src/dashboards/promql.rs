use super::Query;

/// The stretch over which Grafana counts.
const OVER: &str = "$__rate_interval";
/// Half, nearly all, all but one in a hundred.
const QUANTILES: [(&str, &str); 3] = [("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")];
/// Of which installation.
const OF: &str = "job=~\"$job\"";

/// The queries in Prometheus's language, each with the legend of its series.
#[must_use]
pub fn promql(query: &Query) -> Vec<(String, String)> {
    match query {
        Query::Rate(metric, by) => {
            let rate = format!("rate({}{{{OF}}}[{OVER}])", metric.name);
            vec![(sum(&rate, *by), legend(metric.name, *by))]
        }
        Query::RateOf(metric, label, value) => {
            let name = metric.name;
            let rate = format!("rate({name}{{{OF},{label}=\"{value}\"}}[{OVER}])");
            vec![(sum(&rate, None), format!("{} {value}", short(name)))]
        }
        Query::Value(metric, by) => {
            let value = format!("{}{{{OF}}}", metric.name);
            vec![(max(&value, *by), legend(metric.name, *by))]
        }
        Query::Quantiles(metric) => {
            let quantiles = QUANTILES.iter();
            quantiles
                .map(|(share, legend)| (quantile(share, metric.name, None), (*legend).to_owned()))
                .collect()
        }
        Query::Most(metric, by) => {
            vec![(quantile("0.95", metric.name, *by), legend(metric.name, *by))]
        }
        Query::Share(part, whole) => {
            let rate = |name: &str| format!("sum(rate({name}{{{OF}}}[{OVER}]))");
            // Nothing of nothing is no share.
            let query = format!("{} / ({} > 0)", rate(part.name), rate(whole.name));
            vec![(query, short(part.name))]
        }
    }
}

fn sum(query: &str, by: Option<&str>) -> String {
    match by {
        Some(by) => format!("sum by ({by}) ({query})"),
        None => format!("sum({query})"),
    }
}

fn max(query: &str, by: Option<&str>) -> String {
    match by {
        Some(by) => format!("max by ({by}) ({query})"),
        None => format!("max({query})"),
    }
}

fn quantile(share: &str, name: &str, by: Option<&str>) -> String {
    let by = by.map(|by| format!(", {by}")).unwrap_or_default();
    format!("histogram_quantile({share}, sum by (le{by}) (rate({name}_bucket{{{OF}}}[{OVER}])))")
}

fn legend(name: &str, by: Option<&str>) -> String {
    by.map_or_else(|| short(name), |by| format!("{{{{{by}}}}}"))
}

/// A metric's name without what all have.
fn short(name: &str) -> String {
    let name = name.strip_prefix("foldback_").unwrap_or(name);
    name.strip_suffix("_total")
        .unwrap_or(name)
        .replace('_', " ")
}
