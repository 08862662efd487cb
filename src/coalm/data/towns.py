"""In which state or country the towns lie that SGD's users speak of.

SGD names towns alone ("Concord"); most lie around San Francisco, so "Concord" is the one in
California. Read off the values of the train split.
"""

from __future__ import annotations

_TOWNS = {
    "CA": """
        Alameda; Alamo; Albany; Anaheim; Antioch; Atherton; Bay Point; Belmont; Benicia; Berkeley;
        Bodega Bay; Brentwood; Brisbane; Burlingame; Calistoga; Campbell; Castro Valley; Clayton;
        Cloverdale; Concord; Cupertino; Daly City; Danville; Dublin; East Palo Alto; El Cerrito;
        El Sobrante; Emeryville; Fairfax; Fairfield; Forestville; Foster City; Fremont; Fresno;
        Geyserville; Gilroy; Half Moon Bay; Hayward; Healdsburg; Hercules; Inverness; Lafayette;
        Lagunitas; Larkspur; Livermore; Long Beach; Los Altos; Los Angeles; Los Gatos; Marshall;
        Martinez; Menlo Park; Mill Valley; Millbrae; Milpitas; Montara; Moraga; Morgan Hill;
        Mountain View; Muir Beach; Napa; Newark; Novato; Oakland; Oakley; Orinda; Pacifica;
        Palo Alto; Pescadero; Petaluma; Pinole; Pittsburg; Pleasant Hill; Pleasanton;
        Point Reyes Station; Redwood City; Richmond; Rio Vista; Rohnert Park; Ross; Rutherford;
        Sacramento; San Anselmo; San Bruno; San Carlos; San Diego; San Francisco; San Jose;
        San Leandro; San Lorenzo; San Mateo; San Pablo; San Rafael; San Ramon; Santa Clara;
        Santa Rosa; Saratoga; Sausalito; Sebastopol; Sonoma; South San Francisco; St. Helena;
        Stanford; Stinson Beach; Sunnyvale; Sunol; Union City; Vacaville; Vallejo; Valley Ford;
        Walnut Creek; Windsor; Yountville
    """,
    "AZ": "Phoenix",
    "GA": "Atlanta",
    "IL": "Chicago",
    "NV": "Las Vegas",
    "NY": "New York",
    "OR": "Portland",
    "PA": "Philadelphia",
    "WA": "Seattle",
    "Australia": "Sydney",
    "Canada": "Toronto; Vancouver",
    "France": "Paris",
    "India": "Delhi",
    "Kenya": "Nairobi",
    "Malaysia": "Kuala Lumpur",
    "Mexico": "Mexico City",
    "UK": "London",
}

WITH_REGION = {
    "Washington D.C.": "Washington, DC",
    **{
        (town := " ".join(name.split())): f"{town}, {region}"
        for region, names in _TOWNS.items()
        for name in names.split(";")
    },
}
"""Town to the town with its state or country: `San Jose, CA`, `Paris, France`."""
