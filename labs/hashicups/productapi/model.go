package productapi

// Coffee is a coffee in JSON.
type Coffee struct {
	ID          int                `json:"id"`
	Name        string             `json:"name"`
	Teaser      string             `json:"teaser"`
	Collection  string             `json:"collection"`
	Origin      string             `json:"origin"`
	Color       string             `json:"color"` // "#RGB" or "#RRGGBB"
	Description string             `json:"description"`
	Price       float64            `json:"price"` // in hundredths of the currency, whole
	Image       string             `json:"image"` // path on the frontend
	Ingredients []CoffeeIngredient `json:"ingredients"`
}

// CoffeeIngredient is an ingredient inside a Coffee.
type CoffeeIngredient struct {
	ID       int    `json:"ingredient_id"`
	Name     string `json:"name,omitempty"`
	Quantity int    `json:"quantity,omitempty"` // in Unit
	Unit     string `json:"unit,omitempty"`     // "ml" or "g"
}

// Ingredient is an ingredient in a list of its own. Its id has two names: the
// original sends the first, and the published client v0.1.0 reads the second.
type Ingredient struct {
	ID           int    `json:"id"`
	IngredientID int    `json:"ingredient_id"` // equal to ID
	Name         string `json:"name"`
	Quantity     int    `json:"quantity"` // in Unit
	Unit         string `json:"unit"`
}

// Order is an order of a user.
type Order struct {
	ID    int         `json:"id,omitempty"`
	Items []OrderItem `json:"items,omitempty"`
}

// OrderItem is one line of an Order.
type OrderItem struct {
	Coffee   Coffee `json:"coffee"`
	Quantity int    `json:"quantity,omitempty"`
}

// Credentials are what a user signs up and in with.
type Credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Session answers a sign-up or sign-in. The user's id has two names: the original
// and the published client v0.1.0 say "UserID", later clients "user_id".
type Session struct {
	UserID   int    `json:"user_id"`
	SameID   int    `json:"UserID"` // equal to UserID
	Username string `json:"username"`
	Token    string `json:"token"` // goes into the Authorization header as it is
}
