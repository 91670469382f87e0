"""HumanEval tasks in C++, by the name of their function, for `benchmarks.code_tasks`.

Each is written for these measurements; none has a `main`.
"""

from __future__ import annotations

TASKS = {
    "has_close_elements": """bool has_close_elements(vector<double> x, double t) {
    sort(x.begin(), x.end());
    for (size_t i = 1; i < x.size(); ++i) if (x[i] - x[i - 1] < t) return true;
    return false; }""",
    "truncate_number": "double truncate_number(double x) { return x - floor(x); }",
    "below_zero": """bool below_zero(vector<int> x) {
    int sum = 0;
    for (int each : x) if ((sum += each) < 0) return true;
    return false; }""",
    "mean_absolute_deviation": """double mean_absolute_deviation(const vector<double>& x) {
    double mean = accumulate(x.begin(), x.end(), 0.0) / x.size(), sum = 0;
    for (double each : x) sum += abs(each - mean);
    return sum / x.size(); }""",
    "intersperse": """vector<int> intersperse(vector<int> x, int d) {
    vector<int> r;
    for (int each : x) { if (!r.empty()) r.push_back(d); r.push_back(each); }
    return r; }""",
    "filter_by_substring": """vector<string> filter_by_substring(vector<string> x, string s) {
    vector<string> r;
    for (auto& each : x) if (each.find(s) != string::npos) r.push_back(each);
    return r; }""",
    "sum_product": """pair<int, int> sum_product(vector<int> x) {
    int sum = 0, product = 1;
    for (int each : x) sum += each, product *= each;
    return {sum, product}; }""",
    "rolling_max": """vector<int> rolling_max(vector<int>& x) {
    for (size_t i = 1; i < x.size(); ++i) x[i] = max(x[i], x[i - 1]);
    return x; }""",
    "string_xor": """string string_xor(string a, string b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] == b[i] ? '0' : '1';
    return a; }""",
    "longest": """optional<string> longest(vector<string> x) {
    optional<string> best;
    for (auto& each : x) if (!best || each.size() > best->size()) best = each;
    return best; }""",
    "greatest_common_divisor": """long long greatest_common_divisor(long long a, long long b) {
    return b ? greatest_common_divisor(b, a % b) : a; }""",
    "all_prefixes": """vector<string> all_prefixes(string s) {
    vector<string> r;
    for (size_t i = 1; i <= s.size(); ++i) r.push_back(s.substr(0, i));
    return r; }""",
    "string_sequence": """string string_sequence(int n) {
    string r = "0";
    for (int i = 1; i <= n; ++i) r += " " + to_string(i);
    return r; }""",
    "count_distinct_characters": """int count_distinct_characters(string s) {
    set<char> seen;
    for (char c : s) seen.insert(tolower(c));
    return seen.size(); }""",
    "how_many_times": """int how_many_times(string s, string t) {
    int n = 0;
    for (size_t at = s.find(t); at != string::npos; at = s.find(t, at + 1)) ++n;
    return n; }""",
    "strlen": "int strlen(string s) { return s.size(); }",
    "largest_divisor": """int largest_divisor(int n) {
    for (int i = n / 2; i > 0; --i) if (n % i == 0) return i;
    return 1; }""",
    "factorize": """vector<long long> factorize(long long n) {
    vector<long long> r;
    for (long long i = 2; i * i <= n; ++i) while (n % i == 0) r.push_back(i), n /= i;
    if (n > 1) r.push_back(n);
    return r; }""",
    "remove_duplicates": """vector<int> remove_duplicates(vector<int> x) {
    map<int, int> count;
    for (int each : x) ++count[each];
    vector<int> r;
    for (int each : x) if (count[each] == 1) r.push_back(each);
    return r; }""",
    "flip_case": """string flip_case(string s) {
    for (char& c : s) c = islower(c) ? toupper(c) : tolower(c);
    return s; }""",
    "concatenate": """string concatenate(vector<string> x) {
    string r;
    for (auto& each : x) r += each;
    return r; }""",
    "filter_by_prefix": """vector<string> filter_by_prefix(vector<string> x, string p) {
    vector<string> r;
    for (auto& each : x) if (each.rfind(p, 0) == 0) r.push_back(each);
    return r; }""",
    "is_prime": """bool is_prime(long long n) {
    for (long long i = 2; i * i <= n; ++i) if (n % i == 0) return false;
    return n > 1; }""",
    "unique": """vector<int> unique(vector<int> x) {
    set<int> seen(x.begin(), x.end());
    return {seen.begin(), seen.end()}; }""",
    "add": "long long add(long long x, long long y) { return x + y; }",
    "below_threshold": """bool below_threshold(vector<int> x, int t) {
    return all_of(x.begin(), x.end(), [&](int each) { return each < t; }); }""",
    "fib": "int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }",
    "sum_to_n": "long long sum_to_n(long long n) { return n * (n + 1) / 2; }",
    "derivative": """vector<int> derivative(vector<int> x) {
    vector<int> r;
    for (size_t i = 1; i < x.size(); ++i) r.push_back(i * x[i]);
    return r; }""",
    "incr_list": """vector<int> incr_list(vector<int> x) {
    for (int& each : x) ++each;
    return x; }""",
}
